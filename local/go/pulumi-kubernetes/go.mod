module dlstack/local/pulumi-kubernetes

go 1.24.0

require github.com/pulumi/pulumi-kubernetes/provider/v2 v2.0.0

replace (
	github.com/Azure/go-autorest => github.com/Azure/go-autorest v13.3.1+incompatible
	vbom.ml/util => github.com/fvbommel/util v0.0.3
)
