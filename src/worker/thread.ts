/** The script of the threads of the `threads` pool: loads the app from the file that its worker names, then runs what it is sent. */
import { threadId } from 'node:worker_threads'
import { markTaskProcess } from '../internal/task-process.js'
import { serveThread } from '../pools/thread-channel.js'
import { bootChildApp } from './child-app.js'

markTaskProcess()
await serveThread({ boot: () => bootChildApp(`Thread-${threadId}`) })
