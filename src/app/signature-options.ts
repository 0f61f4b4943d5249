import type { ApplyOptions } from '../canvas/sig.js'
import { InvalidMessageError, show } from '../errors.js'
import type { Embed } from '../protocol/task-body.js'
import { parseIso } from '../protocol/time.js'

/** Options of a signature from the wire, under our names. Null means "not given", as in Python. Unknown ones are Celery's own plumbing and are left out. */
export function applyOptionsOf(wire: Readonly<Record<string, unknown>>): ApplyOptions {
  const options: ApplyOptions = {}
  if (Object.keys(wire).length === 0) return options
  const text = (name: string): string | undefined => pick(wire, name, 'text', (value): value is string => typeof value === 'string')
  const number = (name: string): number | undefined => pick(wire, name, 'a number', (value): value is number => typeof value === 'number')
  const record = (name: string): Record<string, unknown> | undefined => pick(wire, name, 'an object', isRecord)
  const set = <K extends keyof ApplyOptions>(name: K, value: ApplyOptions[K]): void => {
    if (value !== undefined) options[name] = value
  }
  set('countdown', number('countdown'))
  set('queue', text('queue'))
  set('exchange', text('exchange'))
  set('routingKey', text('routing_key'))
  set('priority', number('priority'))
  set('serializer', text('serializer'))
  set('compression', text('compression'))
  // As in Python, 0 is no limit of its own.
  set('timeLimit', number('time_limit') || undefined)
  set('softTimeLimit', number('soft_time_limit') || undefined)
  set(
    'ignoreResult',
    pick(wire, 'ignore_result', 'true or false', (value): value is boolean => typeof value === 'boolean'),
  )
  set('headers', record('headers'))
  set('shadow', text('shadow'))
  set('eta', timeAt(wire, 'eta'))
  set('expires', typeof wire.expires === 'number' ? wire.expires : timeAt(wire, 'expires'))
  const stamped = wire.stamped_headers
  if (Array.isArray(stamped) && stamped.length > 0)
    options.stamps = Object.fromEntries(stamped.map((name) => [String(name), wire[String(name)]]))
  return options
}

/** The links of a signature from the wire, as they go into the next message. */
export function embedFrom({ link, link_error: linkError }: Readonly<Record<string, unknown>>): Embed {
  const list = (value: unknown): unknown[] | null => (value === undefined || value === null ? null : Array.isArray(value) ? value : [value])
  return { callbacks: list(link), errbacks: list(linkError), chain: null, chord: null }
}

function pick<T>(
  wire: Readonly<Record<string, unknown>>,
  name: string,
  expected: string,
  is: (value: unknown) => value is T,
): T | undefined {
  const value = wire[name]
  if (value === undefined || value === null) return undefined
  if (is(value)) return value
  throw new InvalidMessageError(`expected the option ${name} of a signature to be ${expected}, got: ${show(value)}`)
}

/** ISO text, as Python's messages have it; in its signatures stands the datetime that a program gave. */
function timeAt(wire: Readonly<Record<string, unknown>>, name: string): Date | undefined {
  const value = pick(wire, name, 'a time', (given): given is string | Date => typeof given === 'string' || given instanceof Date)
  return typeof value === 'string' ? new Date(parseIso(value)) : value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
