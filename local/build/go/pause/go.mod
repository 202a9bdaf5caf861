module dlstack/local/pause

go 1.21
