import type { Command } from 'commander'
import { describeConfig } from '../../app/config.js'
import { givenInEnvironment } from '../../app/load-config.js'
import { showAddress } from '../../internal/address.js'
import { packageVersion } from '../../internal/package-version.js'
import { reportText } from '../../worker/commands/inspect-worker.js'
import { withApp } from '../with-app.js'

export function define(command: Command): void {
  command
    .option('--json', 'write one JSON object: versions, platform, broker, results, and the options that are set')
    .action(({ json }: { readonly json?: true }) =>
      withApp(command, async ({ core: { config }, terminal }) => {
        if (json !== true) return terminal.data(reportText(config).trim())
        const options = describeConfig(config, givenInEnvironment()).filter(({ source }) => source !== 'default')
        terminal.data(
          JSON.stringify({
            celeriac: packageVersion(),
            node: process.versions.node,
            platform: process.platform,
            arch: process.arch,
            broker: config.brokerUrl.map(showAddress),
            results: config.resultBackend === 'disabled' ? 'disabled' : showAddress(config.resultBackend),
            options: Object.fromEntries(options.map(({ option, value }) => [option, value])),
          }),
        )
      }),
    )
}
