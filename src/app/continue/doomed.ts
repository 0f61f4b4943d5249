/** Who is told when something fails: all tasks of a workflow that will never run because of it. A chain or a chord always ends, with a result or with an error. */
import { parseSignature, type WireSignature } from '../../protocol/signature.js'
import { encodeJson } from '../../serializers/json.js'

/** A task that will never run. What its signature says of it stands here as it came; null is "nothing". */
export interface Doomed {
  readonly id: string
  readonly parentId: string | null
  readonly rootId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  /** The chord that waits for it: its part has to be returned. */
  readonly chord: unknown
  /** Those who asked to be told of its failure: of the body of a chord. */
  readonly errbacks: readonly unknown[]
  readonly ignoresResult: boolean
  /** Where its failure goes, where results are messages: a signature that was sent has it. */
  readonly replyTo: string | undefined
}

/** Where a signature stands: what it takes over from the one around it when it says nothing itself. */
interface Place {
  readonly given: unknown
  readonly where: string
  /** The end of what is around it: its result is that one's, and so are its id and its chord. */
  readonly outer: Readonly<Record<string, unknown>>
  /** Null: nobody is told. */
  readonly errbacks: readonly unknown[] | null
  /** False in the header of a chord that was never started: nobody counts its parts. */
  readonly counts: boolean
  /** A member of a group has an id of its own. */
  readonly isMember: boolean
}

/** The rest of a chain: every task in it, with the bodies of its chords. Errbacks are those of the task that failed; here are none. */
export function doomedInChain(chain: readonly unknown[]): Iterable<Doomed> {
  return walk(chain.map((given, index) => place(given, `chain[${index}]`, null)))
}

/** The body of a chord that failed: its last task (of a group every member), with what follows it, and with its errbacks. */
export function doomedBody(body: WireSignature): Iterable<Doomed> {
  return walk([place(body, 'chord', []), ...(listOf(body.options.chain) ?? []).map((given) => place(given, 'chain', null))])
}

/** A loop, not a recursion: a workflow may be deeper than the stack. */
function* walk(places: Place[]): Iterable<Doomed> {
  const waiting = places.reverse()
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { given, where, counts } = next
    const signature = parseSignature(given, where)
    const { kwargs } = signature
    const options = next.isMember ? { ...memberOptions(next.outer), ...signature.options } : { ...next.outer, ...signature.options }
    const errbacks = next.errbacks === null ? null : [...next.errbacks, ...errbacksOf(signature.options)]
    switch (signature.subtask_type) {
      case 'chain': {
        const steps = listOf(kwargs.tasks) ?? []
        for (const [index, step] of steps.entries()) {
          const isLast = index === steps.length - 1
          waiting.push({
            given: step,
            where: `${where}.tasks[${index}]`,
            outer: isLast ? ends(options) : {},
            errbacks: isLast ? errbacks : null,
            counts,
            isMember: false,
          })
        }
        break
      }
      case 'group': {
        const id = text(options.task_id)
        // As Celery: the failure of a body stands under its group's id, too.
        if (id !== null && errbacks !== null) yield { ...nobody, id }
        for (const [index, member] of (listOf(kwargs.tasks) ?? []).entries())
          waiting.push({ given: member, where: `${where}.tasks[${index}]`, outer: ends(options), errbacks, counts, isMember: true })
        break
      }
      case 'chord': {
        const header = membersOf(kwargs.header)
        for (const [index, member] of header.entries())
          waiting.push({ given: member, where: `${where}.header[${index}]`, outer: {}, errbacks: null, counts: false, isMember: true })
        if (kwargs.body !== null && kwargs.body !== undefined)
          waiting.push({ given: kwargs.body, where: `${where}.body`, outer: ends(options), errbacks, counts, isMember: false })
        break
      }
      default: {
        const id = text(options.task_id)
        if (id === null) break
        yield {
          id,
          parentId: text(options.parent_id),
          rootId: text(options.root_id),
          groupId: text(options.group_id),
          groupIndex: Number.isSafeInteger(options.group_index) ? (options.group_index as number) : null, // just seen to be one
          chord: counts ? (options.chord ?? null) : null,
          errbacks: distinct(errbacks ?? []),
          ignoresResult: options.ignore_result === true,
          replyTo: typeof options.reply_to === 'string' ? options.reply_to : undefined,
        }
      }
    }
  }
}

const nobody = {
  parentId: null,
  rootId: null,
  groupId: null,
  groupIndex: null,
  chord: null,
  errbacks: [],
  ignoresResult: false,
  replyTo: undefined,
} as const

const place = (given: unknown, where: string, errbacks: readonly unknown[] | null): Place => ({
  given,
  where,
  outer: {},
  errbacks,
  counts: true,
  isMember: false,
})

/** What the last task of a composite takes over from it. */
function ends({ task_id, chord, group_id, group_index, root_id }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return present({ task_id, chord, group_id, group_index, root_id })
}

/** All members of a group share its chord, and none its id. */
function memberOptions({ chord, group_id, root_id }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return present({ chord, group_id, root_id })
}

function present(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null))
}

/** The header of a chord is a list, or once it is frozen a group. */
function membersOf(header: unknown): readonly unknown[] {
  if (Array.isArray(header)) return header
  if (header === null || header === undefined) return []
  return listOf(parseSignature(header, 'header').kwargs.tasks) ?? []
}

function errbacksOf({ link_error: errbacks }: Readonly<Record<string, unknown>>): readonly unknown[] {
  return listOf(errbacks) ?? []
}

/** Celery links the errbacks of a composite to its parts, too: each is told once. */
function distinct(errbacks: readonly unknown[]): readonly unknown[] {
  return errbacks.length < 2 ? errbacks : [...new Map(errbacks.map((errback) => [encodeJson(errback, 'link_error'), errback])).values()]
}

function listOf(value: unknown): readonly unknown[] | undefined {
  if (value === undefined || value === null) return undefined
  return Array.isArray(value) ? value : [value]
}

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)
