module dlstack/local/pulumi-language-python

go 1.24.0

// The last version that carries the Python language host in this module.
require github.com/pulumi/pulumi/sdk/v3 v3.78.1
