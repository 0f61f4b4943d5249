// @ts-check
// A worker of the in-process pool. (Prefork is started as users start it, with the command line.)
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { app } from './tasks.mjs'

// Two workers that shall begin at the same time are loaded first.
const go = process.env.BENCH_GO
while (go !== undefined && !existsSync(go)) await sleep(1)
await app.worker({ pool: 'async', concurrency: Number(process.env.BENCH_CONCURRENCY ?? 100) }).run()
