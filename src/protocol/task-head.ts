/** The headers of a task message, read once and checked: everything after this trusts them. */
import { DecodeError, InvalidMessageError, show } from '../errors.js'
import type { Message } from './message.js'
import { isName, isShortText } from './name.js'
import { isRecord, setOwn } from './plain.js'
import { isBrokerHeader, isTaskHeader, resentHeader } from './task-headers.js'
import { parseIso } from './time.js'

/** A class, as all that lives as long as a message: see decision 40. */
export class TaskHead {
  readonly id: string
  readonly task: string
  /** The name to show instead of `task`; null also for text that is no name, which Python lets its callers write. */
  readonly shadow: string | null
  /** ms since the epoch. */
  readonly etaMs: number | null
  /** ms since the epoch. */
  readonly expiresMs: number | null
  readonly group: string | null
  readonly groupIndex: number | null
  /** How often the task was retried before. */
  readonly retries: number
  /** Hard limit in seconds; null: the task's own. */
  readonly timeLimit: number | null
  /** Soft limit in seconds; null: the task's own. */
  readonly softTimeLimit: number | null
  readonly rootId: string
  readonly parentId: string | null
  readonly argsrepr: string | null
  readonly kwargsrepr: string | null
  readonly origin: string | null
  /** Null: the task's definition decides. */
  readonly ignoreResult: boolean | null
  readonly replacedTaskNesting: number
  readonly stampedHeaders: readonly string[] | null
  readonly stamps: Readonly<Record<string, unknown>>
  /** Name or MIME type of the compressor of the body. */
  readonly compression: string | null
  /** Sent once more, by a worker that could not know whether it had been sent before. */
  readonly resent: boolean
  /** The caller's own headers: all that neither the protocol nor a broker names. */
  readonly customHeaders: Readonly<Record<string, unknown>>

  /** Checks every field that steers the task. Throws InvalidMessageError with what was expected, what came, and where. */
  constructor(message: Message) {
    const { headers, properties } = message
    if (!isRecord(headers)) throw new InvalidMessageError(`expected the headers to be an object, got: ${show(headers)}`)
    if (headers.task === undefined) throw new InvalidMessageError('unknown protocol: the message has no header "task"')
    checkProperties(properties)
    const id = name('id', headers.id)
    const [timeLimit, softTimeLimit] = limits(headers.timelimit)
    this.id = id
    this.task = name('task', headers.task)
    this.shadow = isName(headers.shadow) ? headers.shadow : null
    this.etaMs = time('eta', headers.eta)
    this.expiresMs = time('expires', headers.expires)
    this.group = optionalName('group', headers.group)
    this.groupIndex = index('group_index', headers.group_index)
    this.retries = index('retries', headers.retries) ?? 0
    this.timeLimit = timeLimit
    this.softTimeLimit = softTimeLimit
    this.rootId = headers.root_id === id ? id : (optionalName('root_id', headers.root_id) ?? id)
    this.parentId = optionalName('parent_id', headers.parent_id)
    this.argsrepr = display(headers.argsrepr)
    this.kwargsrepr = display(headers.kwargsrepr)
    this.origin = display(headers.origin)
    this.ignoreResult = flag('ignore_result', headers.ignore_result)
    this.replacedTaskNesting = index('replaced_task_nesting', headers.replaced_task_nesting) ?? 0
    this.stampedHeaders = textList('stamped_headers', headers.stamped_headers)
    this.stamps = record('stamps', headers.stamps) ?? noHeaders
    this.compression = optionalText('compression', headers.compression)
    this.resent = headers[resentHeader] === true
    this.customHeaders = customHeaders(headers)
  }
}

/** True when the message says that it is protocol 2; what is not may be protocol 1, which only the body tells (`upgradeProtocol1`). */
export function isProtocol2(message: Message): boolean {
  return isRecord(message.headers) && message.headers.task !== undefined
}

type Headers = Readonly<Record<string, unknown>>
const noHeaders: Headers = Object.freeze({})
const nameRule = 'text of 1 to 255 bytes without control characters'

function checkProperties(properties: Message['properties']): void {
  // They come from a broker's client as it read them: their types are a claim.
  const { priority, replyTo, correlationId } = properties as Readonly<Record<keyof Message['properties'], unknown>>
  if (!isAbsent(priority) && !(Number.isInteger(priority) && (priority as number) >= 0 && (priority as number) <= 255)) {
    throw invalid('property "priority"', 'a whole number from 0 to 255', priority)
  }
  checkPropertyText('reply_to', replyTo)
  checkPropertyText('correlation_id', correlationId)
}

function checkPropertyText(key: string, value: unknown): void {
  if (!isAbsent(value) && !(typeof value === 'string' && isShortText(value)))
    throw invalid(`property "${key}"`, `empty or ${nameRule}`, value)
}

function customHeaders(headers: Headers): Headers {
  let custom: Record<string, unknown> | undefined
  for (const key in headers) {
    if (isTaskHeader(key) || isBrokerHeader(key)) continue
    custom ??= {}
    setOwn(custom, key, headers[key])
  }
  return custom ?? noHeaders
}

function name(key: string, value: unknown): string {
  if (!isName(value)) throw invalid(`header "${key}"`, nameRule, value)
  return value
}

const optionalName = (key: string, value: unknown): string | null => (isAbsent(value) ? null : name(key, value))

function optionalText(key: string, value: unknown): string | null {
  if (isAbsent(value) || value === '') return null
  if (typeof value !== 'string' || !isShortText(value)) throw invalid(`header "${key}"`, `null or ${nameRule}`, value)
  return value
}

/** For people's eyes only: what is not text is not shown, and stops nothing. */
const display = (value: unknown): string | null => (typeof value === 'string' ? value : null)

function time(key: string, value: unknown): number | null {
  if (isAbsent(value)) return null
  try {
    if (typeof value === 'string') return parseIso(value)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
  throw invalid(`header "${key}"`, 'null or an ISO 8601 time such as 2026-11-22T16:46:37.620000+00:00', value)
}

function index(key: string, value: unknown): number | null {
  if (isAbsent(value)) return null
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(`header "${key}"`, 'a whole number of 0 or more', value)
  return value as number // a safe integer, checked above
}

function flag(key: string, value: unknown): boolean | null {
  if (isAbsent(value)) return null
  // As Python's callers may write it.
  if (value === 0 || value === 1) return value === 1
  if (typeof value !== 'boolean') throw invalid(`header "${key}"`, 'true, false or null', value)
  return value
}

/** `[hard, soft]`, in that order: Celery's published protocol page has it the wrong way round. */
function limits(value: unknown): readonly [number | null, number | null] {
  if (isAbsent(value)) return [null, null]
  if (!Array.isArray(value) || value.length !== 2) throw invalid('header "timelimit"', 'null or an array [hard, soft] of seconds', value)
  return [seconds(value[0]), seconds(value[1])]
}

function seconds(value: unknown): number | null {
  // As in Python, 0 is no limit of its own.
  if (isAbsent(value) || value === 0) return null
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw invalid('header "timelimit"', 'null or an array [hard, soft] of seconds', value)
  return value
}

function textList(key: string, value: unknown): readonly string[] | null {
  if (isAbsent(value)) return null
  if (!Array.isArray(value) || !value.every((element) => typeof element === 'string'))
    throw invalid(`header "${key}"`, 'null or an array of texts', value)
  return value
}

function record(key: string, value: unknown): Headers | null {
  if (isAbsent(value)) return null
  if (!isRecord(value)) throw invalid(`header "${key}"`, 'null or an object', value)
  return value
}

const isAbsent = (value: unknown): value is null | undefined => value === null || value === undefined

const invalid = (where: string, expected: string, got: unknown): InvalidMessageError =>
  new InvalidMessageError(`expected ${where} to be ${expected}, got: ${show(got)}`)
