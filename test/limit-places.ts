/** Where limits are kept: an app with a broker of each kind, and what else a test of limits needs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { type AppOptions, Celeriac } from '../dist/index.js'
import type { LimitStore } from '../dist/limit-store.js'
import { startRedis } from '../scripts/services.mjs'
import { LiveApp } from './live-app.js'

export const placeNames = ['memory', 'sqlite', 'redis'] as const
export type PlaceName = (typeof placeNames)[number]

/** For the file that calls it: one Redis server for its tests. What `live` gives is closed by its caller. */
export function usePlaces(): { live(name: PlaceName, options?: AppOptions): Promise<LiveApp>; url(name: PlaceName): Promise<string> } {
  let server: ReturnType<typeof startRedis> | undefined
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  let count = 0
  beforeAll(() => {})
  afterAll(async () => {
    await (await server)?.stop()
    rmSync(folder, { recursive: true })
  })
  const url = async (name: PlaceName): Promise<string> => {
    count++
    if (name === 'memory') return `memory://limits-${count}`
    if (name === 'sqlite') return `sqlite://${join(folder, `${count}.db`)}?lease_ttl=2&sweep_interval=0.5`
    server ??= startRedis()
    const redis = await server
    await redis.flush()
    return redis.url
  }
  return { url, live: async (name, options = {}) => new LiveApp({ broker: await url(name), ...options }) }
}

export interface Granted {
  /** Between these times (of this process) it could start first. */
  readonly fromMs: number
  readonly toMs: number
}

/** Every start that the store of limits grants to workers of this app, from now on. */
export async function grantsOf(app: Celeriac): Promise<readonly Granted[]> {
  const grants: Granted[] = []
  const store: LimitStore = await Celeriac.internals(app).core.connections.limits()
  const start = store.start.bind(store)
  store.start = async (asks) => {
    const fromMs = performance.now()
    const answers = await start(asks)
    const toMs = performance.now()
    for (const answer of answers) if (answer.status === 'granted') grants.push({ fromMs: fromMs + answer.inMs, toMs: toMs + answer.inMs })
    return answers
  }
  return grants
}
