/** Puts beat together for an app: what `app.beat()` and `app.schedule` load when they are used. */
import type { Beat, BeatOptions } from '../app/beat-handle.js'
import type { AppCore } from '../app/core.js'
import type { Schedules } from '../app/schedule-handle.js'
import type { Sender } from '../app/sender.js'
import type { BeatEntry } from '../canvas/schedules.js'
import { NotSupportedError, OptionInvalidError } from '../errors.js'
import { type Address, isSameAddress } from '../internal/address.js'
import { redisSchemes } from '../internal/redis/schemes.js'
import { urlScheme } from '../internal/url.js'
import type { ScheduleStore } from '../schedule-store.js'
import { AppBeat } from './beat.js'
import type { ProgramEntry } from './definition.js'
import { readEntry } from './read-entry.js'
import type { Imported } from './redbeat.js'
import { StoredSchedules } from './schedules.js'
import { openScheduleStore } from './stores/index.js'
import { Timetables } from './timetables.js'

export interface AppParts {
  readonly core: AppCore
  readonly sender: Sender
  /** `beatSchedule` and what `addPeriodicTask` added. */
  readonly entries: ReadonlyMap<string, BeatEntry>
}

/** Throws for entries that are wrong. */
export function makeBeat(parts: AppParts, { scheduler, signal }: BeatOptions): Beat {
  return new AppBeat({ ...partsOf(parts, scheduler), signal })
}

export function makeSchedules(parts: AppParts): Schedules {
  return new StoredSchedules(partsOf(parts, undefined))
}

function partsOf({ core, sender, entries }: AppParts, scheduler: BeatOptions['scheduler']) {
  const options = { sender, cronDeadline: core.config.beatCronStartingDeadline }
  const program = new Map<string, ProgramEntry>([...entries].map(([name, entry]) => [name, readEntry(name, entry, options)]))
  return {
    core,
    sender,
    timetables: new Timetables(core.config.timezone),
    program,
    openStore: () => openStore(core, storeAddress(core, scheduler)),
  }
}

function openStore(core: AppCore, address: Address): Promise<ScheduleStore> {
  const { brokerUrl, brokerTransportOptions } = core.config
  const isBroker = brokerUrl.some((broker) => isSameAddress(broker, address))
  return openScheduleStore(address, {
    app: core.name,
    clock: core.clock,
    log: core.log,
    transportOptions: isBroker ? brokerTransportOptions : {},
  })
}

function storeAddress({ config }: AppCore, scheduler: BeatOptions['scheduler']): Address {
  const { beatStore, brokerUrl, resultBackend } = config
  switch (scheduler) {
    case undefined:
      return beatStore
    case 'sqlite':
    case 'file':
    case 'memory':
      return `${scheduler}://`
    case 'redis': {
      const found = [beatStore, ...brokerUrl, resultBackend].find(isRedis)
      if (found !== undefined) return found
      throw new OptionInvalidError('scheduler', 'the URL of a Redis: neither beatStore nor broker nor backend is one', scheduler)
    }
    case 'postgres':
      throw new NotSupportedError('the scheduler postgres', 'use sqlite, redis or file')
    default:
      if (typeof scheduler === 'string' && scheduler.includes(':')) return scheduler
      throw new OptionInvalidError('scheduler', '"sqlite", "redis", "file", "memory" or a URL', scheduler)
  }
}

function isRedis(address: Address): boolean {
  return typeof address !== 'string' || redisSchemes.some((scheme) => scheme === urlScheme(address))
}

export interface RedBeatOptions {
  /** Where RedBeat's keys are. Default: the Redis of `beatStore`, the broker or the results. */
  readonly url?: string
  /** RedBeat's `redbeat_key_prefix`. Default `redbeat:`. */
  readonly prefix?: string
}

/** Brings RedBeat's entries into the app's store of schedules. Throws OptionInvalidError when there is no Redis. */
export async function importFromRedBeat({ core }: AppParts, { url, prefix = 'redbeat:' }: RedBeatOptions): Promise<Imported> {
  const [{ importRedBeat }, { targetOf }, { readOptions }, { linkOptionsIn, linkOptionTable, targetOptions }] = await Promise.all([
    import('./redbeat.js'),
    import('../internal/redis/target.js'),
    import('../internal/option-table.js'),
    import('../internal/redis/link-options.js'),
  ])
  const address = url ?? storeAddress(core, 'redis')
  const { clock, config } = core
  const options = readOptions(linkOptionsIn(config.brokerTransportOptions), 'brokerTransportOptions', linkOptionTable, {})
  const link = await targetOf(address, { ...targetOptions(options), clock }).open({
    signal: AbortSignal.timeout(10_000),
    name: 'celeriac:import',
  })
  try {
    const store = await openStore(core, config.beatStore)
    try {
      return await importRedBeat(link, { store, timetables: new Timetables(config.timezone), prefix })
    } finally {
      await store.close()
    }
  } finally {
    await link.close()
  }
}
