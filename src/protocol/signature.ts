/** A signature as data (celery/canvas.py): a call that is not sent yet. Links, chains and chords of a message are made of them. */
import { InvalidMessageError, show } from '../errors.js'
import { isName } from './name.js'
import { isRecord, setOwn } from './plain.js'

/** The six keys of the wire, in Celery's spelling and order. All are always written. */
export interface WireSignature {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: Readonly<Record<string, unknown>>
  /** `chain`, `group` or `chord`; null is one task. */
  readonly subtask_type: string | null
  /** Takes no arguments from the task before it. */
  readonly immutable: boolean
}

/** How much work one message may ask for: a hostile or broken signature must not fill a worker or its stack. */
export const signatureLimits = {
  /** Signatures inside signatures (links of links, chords of chords). */
  depth: 64,
  /** Signatures in one list of links or one chain. */
  links: 5_000,
  /** Signatures in all, members of groups included. */
  expansion: 100_000,
} as const

/**
 * Reads one signature; what it holds inside (links, members) is checked by `checkSignatures`. Python leaves keys out or writes null: those are absent,
 * also among the options. Throws InvalidMessageError that begins with `where`, such as `embed.callbacks[0]`.
 */
export function parseSignature(value: unknown, where: string): WireSignature {
  if (!isRecord(value)) throw invalid(where, 'a signature object', value)
  const { task, args, kwargs, options, subtask_type: type, immutable } = value
  if (!isName(task)) throw invalid(`${where}.task`, 'a task name of 1 to 255 bytes without control characters', task)
  return {
    task,
    args: absent(args) ? [] : list(args, `${where}.args`),
    kwargs: absent(kwargs) ? {} : record(kwargs, `${where}.kwargs`),
    options: absent(options) ? {} : withoutNulls(record(options, `${where}.options`)),
    subtask_type: absent(type) ? null : text(type, `${where}.subtask_type`),
    immutable: absent(immutable) ? false : flag(immutable, `${where}.immutable`),
  }
}

interface Visit {
  readonly value: unknown
  readonly where: string
  readonly depth: number
}

/**
 * Checks signatures with all that hang on them: links, chains, chords, members of groups. Throws InvalidMessageError for one that is malformed or over `signatureLimits`.
 * A loop, not a recursion: depth is what it defends against.
 */
export function checkSignatures(roots: readonly (readonly [where: string, value: unknown])[]): void {
  let expansion = 0
  const visits: Visit[] = []
  const push = (value: unknown, where: string, depth: number, linked: boolean): void => {
    if (absent(value)) return
    if (!Array.isArray(value)) {
      visits.push({ value, where, depth })
      return
    }
    if (linked && value.length > signatureLimits.links) {
      throw new InvalidMessageError(`${where} has ${value.length} signatures, over the limit of ${signatureLimits.links}`)
    }
    expansion += value.length
    if (expansion > signatureLimits.expansion)
      throw new InvalidMessageError(`${where} brings the message to more than ${signatureLimits.expansion} signatures`)
    for (let index = 0; index < value.length; index++) visits.push({ value: value[index], where: `${where}[${index}]`, depth })
  }
  for (const [where, value] of roots) push(value, where, 1, true)
  for (let visit = visits.pop(); visit !== undefined; visit = visits.pop()) {
    const { where, depth } = visit
    if (depth > signatureLimits.depth)
      throw new InvalidMessageError(`${where.slice(0, 100)}... has signatures more than ${signatureLimits.depth} deep`)
    const { options, kwargs, subtask_type: type } = parseSignature(visit.value, where)
    for (const key of ['link', 'link_error', 'chain', 'chord']) push(options[key], `${where}.options.${key}`, depth + 1, true)
    if (type === 'chain') push(kwargs.tasks, `${where}.kwargs.tasks`, depth + 1, true)
    if (type === 'group') push(kwargs.tasks, `${where}.kwargs.tasks`, depth + 1, false)
    if (type === 'chord') {
      push(kwargs.header, `${where}.kwargs.header`, depth + 1, false)
      push(kwargs.body, `${where}.kwargs.body`, depth + 1, true)
    }
  }
}

const absent = (value: unknown): value is null | undefined => value === null || value === undefined

function withoutNulls(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const kept: Record<string, unknown> = {}
  for (const key of Object.keys(options)) if (!absent(options[key])) setOwn(kept, key, options[key])
  return kept
}

function list(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(where, 'an array', value)
  return value
}

function record(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw invalid(where, 'an object', value)
  return value
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string') throw invalid(where, 'text', value)
  return value
}

function flag(value: unknown, where: string): boolean {
  if (typeof value !== 'boolean') throw invalid(where, 'true or false', value)
  return value
}

const invalid = (where: string, expected: string, got: unknown): InvalidMessageError =>
  new InvalidMessageError(`expected ${where} to be ${expected}, got: ${show(got)}`)
