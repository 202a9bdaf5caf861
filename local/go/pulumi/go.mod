module dlstack/local/pulumi

go 1.25.6

require github.com/pulumi/pulumi/pkg/v3 v3.259.0

// Pulumi builds with this fork of the clipboard module; replacements in a
// dependency's go.mod do not reach the module that requires it.
replace github.com/atotto/clipboard => github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e
