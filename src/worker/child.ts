/** The script of the child processes of the `prefork` pool: loads the app from the file that its worker names, then runs what it is sent. */
import { Celeriac } from '../app/app.js'
import { executeWith } from '../app/execute.js'
import { humanLogger } from '../app/human-log.js'
import { loadApp } from '../app/load-app.js'
import { serveChild } from '../pools/child-channel.js'

// The terminal sends these to the whole process group; only the worker decides what they mean for its children.
for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => {})

await serveChild({
  boot: async () => {
    const { app } = await loadApp(process.argv[2])
    if (!Celeriac.isApp(app)) throw new Error(`${process.argv[2]} does not export an app`)
    const { core } = Celeriac.internals(app)
    core.log = core.config.logger ?? humanLogger({ level: core.config.workerLogLevel, process: `Child-${process.pid}`, write: (line) => process.stderr.write(line) })
    return { execute: executeWith(core), close: () => app.close() }
  },
})
