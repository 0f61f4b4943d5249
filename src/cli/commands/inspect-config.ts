import type { Command } from 'commander'
import { describeConfig } from '../../app/config.js'
import { givenInEnvironment } from '../../app/load-config.js'
import { withApp } from '../with-app.js'

export function define(command: Command): void {
  command
    .option('--changed', 'only options that do not have their default')
    .option('--json', 'write one JSON array of objects: option, value and source')
    .action(({ changed = false, json = false }: { readonly changed?: boolean; readonly json?: boolean }) =>
      withApp(command, async ({ core, terminal }) => {
        const options = describeConfig(core.config, givenInEnvironment()).filter(({ source }) => !changed || source !== 'default')
        if (json) {
          terminal.data(JSON.stringify(options))
          return
        }
        const width = Math.max(...options.map(({ option }) => option.length))
        for (const { option, value, source } of options) {
          terminal.data(`${option.padEnd(width)}  ${value}${source === 'default' ? '' : `  (${source})`}`)
        }
      }),
    )
}
