/** The script of the child processes of the `prefork` pool: loads the app from the file that its worker names, then runs what it is sent. */
import { markTaskProcess } from '../internal/task-process.js'
import { serveChild } from '../pools/child-channel.js'
import { bootChildApp } from './child-app.js'

// The terminal sends these to the whole process group; only the worker decides what they mean for its children.
for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => {})

markTaskProcess()
await serveChild({ boot: () => bootChildApp(`Child-${process.pid}`) })
