import { fileURLToPath } from 'node:url'
import type { Celeriac } from '../app/app.js'
import { executeWith } from '../app/execute.js'
import { importTasks } from '../app/import-tasks.js'
import { loadApp } from '../app/load-app.js'
import { nodeName } from '../internal/node-name.js'
import type { ChildApp } from '../pools/child-runs.js'
import { workerLog } from './worker-log.js'

/** The app in a child process or a thread, loaded from the file that the worker names in its arguments; its log lines are by `name`. */
export async function bootChildApp(name: string): Promise<ChildApp> {
  const { app } = await loadApp(specOf(process.argv[2] ?? ''))
  // The app's own class: it may be of another copy of celeriac, whose private fields ours cannot read.
  const { core, sender } = (app.constructor as typeof Celeriac).internals(app)
  await importTasks(core)
  if (core.config.logger === null) core.log = workerLog(core.config, { hostname: nodeName(process.argv[3]), process: name })
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
}

/** `WorkerOptions.app` is a path or file URL, with `#name` for one export of several. */
function specOf(app: string): string {
  const [file = '', name] = app.split('#')
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  return name === undefined ? path : `${path}:${name}`
}
