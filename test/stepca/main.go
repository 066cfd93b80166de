// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command stepca is smallstep's step-ca, from its own module: the same server, configuration and start-up, without the
// key stores and CAs of cloud providers, which would be most of the binary. Tests of the mode StepCA run it:
//
//	stepca --password-file FILE ca.json
package main

import (
	"fmt"
	"os"

	_ "github.com/smallstep/certificates/cas/softcas" // what signs
	"github.com/smallstep/certificates/commands"
	"github.com/smallstep/cli-utils/step"
	"github.com/urfave/cli"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "stepca:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := step.Init(); err != nil {
		return err
	}
	app := cli.NewApp()
	app.Name = "step-ca"
	app.Flags = commands.AppCommand.Flags
	app.Action = func(ctx *cli.Context) error {
		return cli.HandleAction(commands.AppCommand.Action, ctx)
	}
	return app.Run(os.Args)
}
