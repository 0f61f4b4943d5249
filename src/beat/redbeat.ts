/** Reads the entries that RedBeat keeps in Redis (a hash for each, `definition` and `meta` as JSON), to move from it. RedBeat's keys are only read. */

import type { CrontabField, ScheduleData } from '../canvas/schedules.js'
import { CeleriacError } from '../errors.js'
import { isRecord } from '../internal/option-kinds.js'
import { listOf, type RedisLink, textOf } from '../internal/redis/link.js'
import { TimeZone } from '../internal/time-zone.js'
import { isName } from '../protocol/name.js'
import { parseSignature } from '../protocol/signature.js'
import type { ScheduleStore } from '../schedule-store.js'
import { encodeJson } from '../serializers/json.js'
import { dataOfFields } from './crontab.js'
import { type Definition, type EntryRecord, encodeRecord, newState } from './definition.js'
import { intervalData } from './interval.js'
import type { Timetables } from './timetables.js'

export interface Imported {
  /** Names of entries that are in the store from now on. */
  readonly added: readonly string[]
  /** Names that the store had already: they were left as they are. */
  readonly known: readonly string[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
}

export interface ImportOptions {
  readonly store: ScheduleStore
  readonly timetables: Timetables
  /** RedBeat's `redbeat_key_prefix`. */
  readonly prefix: string
}

/** Entries that are there already are not touched, so that it may be done at every start. */
export async function importRedBeat(link: RedisLink, { store, timetables, prefix }: ImportOptions): Promise<Imported> {
  const stored = new Map((await store.entries(0)).filter(({ data }) => data !== null).map((entry) => [entry.name, entry]))
  const added: string[] = []
  const known: string[] = []
  const refused: { name: string; reason: string }[] = []
  for (const key of await entryKeys(link, prefix)) {
    const name = key.slice(prefix.length)
    if (stored.has(name)) {
      known.push(name)
      continue
    }
    try {
      const [definition, meta] = listOf(await link.call('HMGET', [key, 'definition', 'meta']))
      const record = recordOf(textOf(definition), meta === null || meta === undefined ? '{}' : textOf(meta), timetables)
      const outcome = await store.write({ entries: [{ name, from: 0, data: encodeRecord(record) }] })
      if (outcome.status === 'written') added.push(name)
      else known.push(name)
    } catch (error) {
      if (!(error instanceof CeleriacError || error instanceof SyntaxError || error instanceof TypeError)) throw error
      refused.push({ name, reason: error.message })
    }
  }
  return { added, known, refused }
}

/** Hashes with the prefix. Those of RedBeat's own (`redbeat::schedule`, `redbeat::lock`) have a colon behind it. */
async function entryKeys(link: RedisLink, prefix: string): Promise<readonly string[]> {
  const keys = new Set<string>()
  let cursor = '0'
  do {
    const pattern = `${prefix.replaceAll(/[*?[\]\\]/g, '\\$&')}*`
    const [next, found] = listOf(await link.call('SCAN', [cursor, 'MATCH', pattern, 'COUNT', 1_000, 'TYPE', 'hash']))
    for (const key of listOf(found)) if (textOf(key)[prefix.length] !== ':') keys.add(textOf(key))
    cursor = textOf(next)
  } while (cursor !== '0')
  return [...keys].sort()
}

function recordOf(definitionText: string, metaText: string, timetables: Timetables): EntryRecord {
  const given: unknown = JSON.parse(definitionText)
  const meta: unknown = JSON.parse(metaText)
  if (!isRecord(given) || !isRecord(meta)) throw new SyntaxError('its definition is no object')
  const { task, args, kwargs, options, enabled } = given
  if (!isName(task)) throw new SyntaxError('its definition names no task')
  const schedule = scheduleOf(given.schedule)
  const signature = parseSignature({ task, args, kwargs, options }, 'definition')
  const definition: Definition = {
    task,
    call: encodeJson(signature, 'definition'),
    schedule,
    misfire: 'once',
    misfireGraceMs: 60_000,
    overlap: 'allow',
    jitterMs: 0,
    startMs: null,
    endMs: null,
    description: 'from RedBeat',
  }
  const lastMs = timeOf(meta.last_run_at)
  const runs = typeof meta.total_run_count === 'number' ? meta.total_run_count : 0
  const dueMs = lastMs === null ? null : (timetables.of(schedule)?.next(lastMs) ?? null)
  return {
    program: null,
    stored: definition,
    paused: enabled === false,
    state: { ...newState, dueMs, lastDueMs: lastMs, lastAtMs: lastMs, runs },
  }
}

function scheduleOf(given: unknown): ScheduleData {
  if (!isRecord(given)) throw new SyntaxError('it has no schedule')
  const type = given.__type__
  if (type === 'interval' && typeof given.every === 'number') return intervalData(given.every, given.relative === true)
  if (type === 'crontab') {
    const { minute, hour, day_of_week: dayOfWeek, day_of_month: dayOfMonth, month_of_year: monthOfYear } = given
    // Checked where they are read.
    const fields = { minute, hour, dayOfWeek, dayOfMonth, monthOfYear } as Record<string, CrontabField>
    return dataOfFields(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)))
  }
  throw new SyntaxError(`its schedule is of the type ${JSON.stringify(type)}, which celeriac does not have: write it as crontab or every`)
}

/** `{"__type__": "datetime", "year": ...}`; the zone is a name or seconds. RedBeat writes what Celery gives it, which is UTC. */
function timeOf(given: unknown): number | null {
  if (!isRecord(given) || given.__type__ !== 'datetime') return null
  const part = (name: string): number => (typeof given[name] === 'number' ? given[name] : 0)
  const wall = Date.UTC(
    part('year'),
    part('month') - 1,
    part('day'),
    part('hour'),
    part('minute'),
    part('second'),
    Math.floor(part('microsecond') / 1000),
  )
  const { timezone } = given
  if (typeof timezone === 'number') return wall - timezone * 1000
  if (typeof timezone === 'string' && timezone !== 'UTC') return new TimeZone(timezone).instantsOf(wall).ms
  return wall
}
