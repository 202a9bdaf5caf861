// Command metrics-server answers the metrics API: what pods and nodes use.
package main

import (
	"os"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	"sigs.k8s.io/metrics-server/cmd/metrics-server/app"
)

func main() {
	command := app.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())
	os.Exit(cli.Run(command))
}
