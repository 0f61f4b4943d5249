import type { Command } from 'commander'
import type { LoadedApp } from '../../app/load-app.js'
import { atMost } from '../../internal/at-most.js'
import { systemClock } from '../../internal/clock.js'
import { didYouMean } from '../../internal/did-you-mean.js'
import { places, type Shell, scripts, shells } from '../completion/scripts.js'
import { type AppNames, suggest } from '../completion/suggest.js'
import { UsageError } from '../usage-error.js'

/** Whoever has pressed Tab waits no longer for an app. */
const appMs = 3_000

export function define(command: Command): void {
  command
    .argument('[shell]', shells.join(', '))
    .option('--suggest <line>', 'what may follow on this command line: value, tab, help')
    .addHelpText('after', `\nOnce for each shell:\n${shells.map((shell) => `  ${shell.padEnd(6)}${places[shell]}`).join('\n')}`)
    .action(async (shell: string | undefined, { suggest: line }: { readonly suggest?: string }) => {
      if (line !== undefined) {
        const found = await suggest(line, appNames)
        process.stdout.write(found.map(({ value, help }) => `${value}\t${help.replaceAll(/\s+/g, ' ')}\n`).join(''))
        return
      }
      if (!shells.some((one) => one === shell)) {
        const near = shell === undefined ? undefined : didYouMean(shell, shells)
        throw new UsageError(`expected celeriac completion ${shells.join('|')}${near === undefined ? '' : `; did you mean ${near}?`}`)
      }
      // One of them, checked.
      process.stdout.write(`${scripts[shell as Shell]}\n`)
    })
}

/** None where no app is found, where it cannot be loaded, or takes long. */
function appNames(app: string | undefined): AppNames {
  let loading: Promise<LoadedApp | undefined> | undefined
  const loaded = (): Promise<LoadedApp | undefined> => (loading ??= quietly(() => load(app)))
  return {
    tasks: async () => (await loaded())?.app.taskNames ?? [],
    queues: async () => {
      const found = await loaded()
      if (found === undefined) return []
      const { core } = (found.app.constructor as typeof import('../../app/app.js').Celeriac).internals(found.app)
      return core.routes.defaultQueues()
    },
  }
}

async function load(app: string | undefined): Promise<LoadedApp> {
  const [{ loadApp }, { appFromEnvironment }] = await Promise.all([import('../../app/load-app.js'), import('../../app/load-config.js')])
  return loadApp(app ?? appFromEnvironment())
}

/** The app's own words would be suggestions. */
async function quietly<T>(run: () => Promise<T>): Promise<T | undefined> {
  const { write } = process.stdout
  process.stdout.write = () => true
  try {
    const running = run()
    await atMost(systemClock, appMs, running)
    return await Promise.race([running, undefined])
  } catch {
    return undefined
  } finally {
    process.stdout.write = write
  }
}
