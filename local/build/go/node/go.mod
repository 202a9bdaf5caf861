module dlstack/local/node

go 1.23
