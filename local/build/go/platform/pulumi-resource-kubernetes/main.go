// Command pulumi-resource-kubernetes is Pulumi's Kubernetes plugin without the files that its
// release generates: the SDK has the schema, which a program's deployment never asks for.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

func main() {
	schema := `{"name":"kubernetes","version":"` + version.Version + `"}`
	provider.Serve("kubernetes", version.Version, []byte(schema), []byte("{}"))
}
