module dlstack/benchmarks/load_generator

go 1.24.0

require golang.org/x/net v0.42.0

require golang.org/x/text v0.27.0 // indirect
