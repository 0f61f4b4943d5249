/** The script of the child processes of the `prefork` pool: loads the app from the file that its worker names, then runs what it is sent. */
import { fileURLToPath } from 'node:url'
import type { Celeriac } from '../app/app.js'
import { executeWith } from '../app/execute.js'
import { importTasks } from '../app/import-tasks.js'
import { loadApp } from '../app/load-app.js'
import { nodeName } from '../internal/node-name.js'
import { serveChild } from '../pools/child-channel.js'
import { workerLog } from './worker-log.js'

// The terminal sends these to the whole process group; only the worker decides what they mean for its children.
for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => {})

await serveChild({
  boot: async () => {
    const { app } = await loadApp(specOf(process.argv[2] ?? ''))
    // The app's own class: it may be of another copy of celeriac, whose private fields ours cannot read.
    const { core, sender } = (app.constructor as typeof Celeriac).internals(app)
    await importTasks(core)
    if (core.config.logger === null)
      core.log = workerLog(core.config, { hostname: nodeName(process.argv[3]), process: `Child-${process.pid}` })
    await core.telemetry()
    const { hooks, log } = core
    hooks.tell('workerProcessInit', log, () => ({ hostname: nodeName(process.argv[3]), pid: process.pid }))
    return {
      execute: executeWith(core, sender, { crosses: true }),
      close: async () => {
        hooks.tell('workerProcessShutdown', log, () => ({ pid: process.pid, exitcode: 0 }))
        await app.close()
      },
    }
  },
})

/** `WorkerOptions.app` is a path or file URL, with `#name` for one export of several. */
function specOf(app: string): string {
  const [file = '', name] = app.split('#')
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  return name === undefined ? path : `${path}:${name}`
}
