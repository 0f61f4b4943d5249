import { isDeepStrictEqual } from 'node:util'
import { NotSupportedError } from '../errors.js'
import type { WireSignature } from '../protocol/signature.js'
import type { Enqueued } from './handles.js'
import type { AnyLink, ApplyOptions, Sig } from './sig.js'
import { isVisitor, mergedStamps, type Stamped, type StampingVisitor, type StampOptions, type Stamps } from './stamping.js'
import { wireOptions } from './wire-options.js'

/** What sends signatures: the app. Canvas makes data only. */
export interface SignatureSender {
  send(signature: Signature, options: ApplyOptions): Enqueued<unknown>
  /** `taskAllowErrorCbOnChordHeader`. */
  readonly errbacksOnHeaders: boolean
}

/** The parts of a call. */
export interface Call {
  readonly task: string
  readonly args: readonly unknown[]
  /** Of a chain or group: `tasks`; of a chord: `header` and `body`; all of them signatures. */
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: ApplyOptions
  readonly subtaskType: 'chain' | 'group' | 'chord' | null
  readonly immutable: boolean
  /** Options that came with its JSON and have no name of ours: ids, its place in a workflow. They go back as they came. */
  readonly plumbing?: Readonly<Record<string, unknown>>
}

interface Stamping {
  readonly visitor: StampingVisitor
  readonly append: boolean
}

/** The one class behind every `Sig`: an immutable call and who can send it. */
export class Signature implements Sig<never, unknown, true> {
  // The three are types only: they carry what a step takes and gives, and have no value at run time.
  declare readonly '~prev': (prev: never) => void
  declare readonly '~result': unknown
  declare readonly '~ready': true
  readonly call: Call
  readonly sender: SignatureSender

  constructor(call: Call, sender: SignatureSender) {
    this.call = call
    this.sender = sender
  }

  get task(): string {
    return this.call.task
  }

  /** The members of a chain or a group; of anything else none. */
  get tasks(): readonly Signature[] {
    const { subtaskType, kwargs } = this.call
    // Made by `composite`, which takes nothing else.
    return subtaskType === 'chain' || subtaskType === 'group' ? (kwargs.tasks as readonly Signature[]) : []
  }

  /** Header and body of a chord. */
  get #chord(): { readonly header: Signature; readonly body: Signature } {
    return this.call.kwargs as unknown as { header: Signature; body: Signature } // as above
  }

  /** Of a chord: with another body. */
  withBody(change: (body: Signature) => Signature): Signature {
    return this.#withKwargs({ body: change(this.#chord.body) })
  }

  set(options: ApplyOptions): Signature {
    return this.#with({ options: { ...this.call.options, ...options } })
  }

  clone(): Signature {
    return this.#with({})
  }

  pipe(next: Sig<never, unknown, boolean>): Signature & Sig<never, never, true> {
    const step = signatureOf(next)
    // Celery's | makes a chord of a group of one, too, where chain() takes its member for a step.
    const isAlone = this.call.subtaskType === 'group' && this.tasks.length === 1 && !isEmptyGroup(step)
    // Only the types tell what the chain takes and gives.
    return (isAlone ? chordOf(this, step) : chainOf([this, step])) as Signature & Sig<never, never, true>
  }

  link(callback: Sig<never, unknown, boolean>): Signature {
    const linked = signatureOf(callback)
    switch (this.call.subtaskType) {
      case 'chord':
        return this.#withKwargs({ body: this.#chord.body.link(callback) })
      case 'group': {
        if (!linked.call.immutable) throw takesNoResult('a group')
        const [first, ...rest] = this.tasks
        return first === undefined ? this : this.#withKwargs({ tasks: [first.link(callback), ...rest] })
      }
      default:
        if (this.task === 'celery.chunks' && !linked.call.immutable) throw takesNoResult('chunks')
        return this.set({ link: withLink(this.call.options.link, linked) })
    }
  }

  linkError(errback: Sig<never, unknown, boolean>): Signature {
    const onMembers = (group: Signature, only?: 'chord'): Signature =>
      group.#withKwargs({
        tasks: group.tasks.map((task) => (only === undefined || task.call.subtaskType === only ? task.linkError(errback) : task)),
      })
    switch (this.call.subtaskType) {
      case 'chord': {
        const { header, body } = this.#chord
        const told = onMembers(header, this.sender.errbacksOnHeaders ? undefined : 'chord')
        return this.#withKwargs({ header: told, body: body.linkError(errback) })
      }
      case 'group':
        return onMembers(this)
      default:
        return this.set({ linkError: withLink(this.call.options.linkError, signatureOf(errback)) })
    }
  }

  onError(errback: Sig<never, unknown, boolean>): Signature {
    return this.linkError(errback)
  }

  stamp(given: Stamps | StampingVisitor, { append = false }: StampOptions = {}): Signature {
    return isVisitor(given) ? this.#stamped({}, { visitor: given, append }) : this.#stamped(given, { visitor: {}, append })
  }

  delay(): Enqueued<unknown> {
    return this.sender.send(this, {})
  }

  applyAsync(options: ApplyOptions = {}): Enqueued<unknown> {
    return this.sender.send(this, options)
  }

  /** As `toJSON`, but the members of a chain, a group or a chord stay signatures: there may be very many of them. */
  wire(): WireSignature {
    const { task, args, kwargs, options, subtaskType, immutable, plumbing } = this.call
    return {
      task,
      args,
      kwargs: subtaskType === null ? plain(kwargs) : kwargs,
      options: { ...plumbing, ...plainOptions(options) },
      subtask_type: subtaskType,
      immutable,
    }
  }

  toJSON(): WireSignature {
    const { args, kwargs, ...wire } = this.wire()
    return {
      task: wire.task,
      args: [...args],
      kwargs: plain(kwargs),
      options: wire.options,
      subtask_type: wire.subtask_type,
      immutable: wire.immutable,
    }
  }

  #with(change: Partial<Call>): Signature {
    return new Signature({ ...this.call, ...change }, this.sender)
  }

  #withKwargs(change: Readonly<Record<string, unknown>>): Signature {
    return this.#with({ kwargs: { ...this.call.kwargs, ...change } })
  }

  /** Tasks carry stamps; chains, groups and chords hand them on. */
  #stamped(around: Stamps, stamping: Stamping): Signature {
    const { visitor, append } = stamping
    const all = (tasks: readonly Signature[], stamps: Stamps): Signature[] => tasks.map((task) => task.#stamped(stamps, stamping))
    switch (this.call.subtaskType) {
      case 'chain': {
        const stamps = mergedStamps(around, visitor.onChainStart?.(this, around), append)
        const chain = this.#withLinksStamped(stamps, stamping).#withKwargs({ tasks: all(this.tasks, stamps) })
        visitor.onChainEnd?.(this, stamps)
        return chain
      }
      case 'group': {
        const stamps = mergedStamps(around, visitor.onGroupStart?.(this, around), append)
        const group = this.#withLinksStamped(stamps, stamping).#withKwargs({ tasks: all(this.tasks, stamps) })
        visitor.onGroupEnd?.(this, stamps)
        return group
      }
      case 'chord': {
        const { header, body } = this.#chord
        const added =
          visitor.onChordHeaderStart === undefined ? visitor.onGroupStart?.(header, around) : visitor.onChordHeaderStart(this, around)
        const stamps = mergedStamps(around, added, append)
        const head = header.#withKwargs({ tasks: all(header.tasks, stamps) })
        if (visitor.onChordHeaderEnd === undefined) visitor.onGroupEnd?.(header, stamps)
        else visitor.onChordHeaderEnd(this, stamps)
        const ofBody = mergedStamps(stamps, visitor.onChordBody?.(this, stamps), append)
        return this.#withLinksStamped(stamps, stamping).#withKwargs({ header: head, body: body.#stamped(ofBody, stamping) })
      }
      default: {
        const linked = this.#withLinksStamped(around, stamping)
        const stamps = mergedStamps(around, visitor.onSignature?.(this, around), append)
        const own = this.call.options.stamps
        return linked.set({ stamps: { ...mergedStamps(stamps, own, append) } })
      }
    }
  }

  #withLinksStamped(around: Stamps, stamping: Stamping): Signature {
    const { link, linkError } = this.call.options
    const { visitor, append } = stamping
    const stamped = (links: ApplyOptions['link'], see: ((link: Stamped, stamps: Stamps) => Stamps | undefined) | undefined): AnyLink[] =>
      listOf(links).map((one) => {
        const signature = signatureOf(one)
        return asLink(signature.#stamped(mergedStamps(around, see?.call(visitor, signature, around), append), stamping))
      })
    return this.set({
      ...(link === undefined ? {} : { link: stamped(link, visitor.onCallback) }),
      ...(linkError === undefined ? {} : { linkError: stamped(linkError, visitor.onErrback) }),
    })
  }
}

/** Every `Sig` is a Signature; this says so to the compiler, and to callers who made their own. */
export function signatureOf(sig: Sig<never, unknown, boolean>): Signature {
  if (sig instanceof Signature) return sig
  throw new TypeError('expected a signature made by task.s(), task.si(), chain(), group() or chord()')
}

/** Whether a callback fits its task is checked where it is linked (the types of `Sig.link`); in the options every link is as good as another. */
function asLink(sig: Signature): AnyLink {
  return sig as unknown as AnyLink
}

/** As Celery: one that is linked already is not linked again. */
function withLink(links: ApplyOptions['link'], added: Signature): AnyLink[] {
  const list = [...listOf(links)]
  return list.some((one) => isDeepStrictEqual(one.toJSON(), added.toJSON())) ? list : [...list, asLink(added)]
}

function takesNoResult(of: string): NotSupportedError {
  return new NotSupportedError(
    `a callback of ${of} that takes a result`,
    'as in Celery it is sent when the first member has succeeded, without a result. Link an immutable signature (task.si()), or let the callback follow the group: chord(group, callback)',
  )
}

/** A list of what may be one or many. */
export function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value : [value as T]
}

/**
 * a | b | c, by Celery's rules: chains in it become part of it, a group of one is its member, group | next is a chord, what follows a chord whose body
 * is a group waits for that, an empty group is left out.
 * One that leads is kept: what follows it gets the empty list.
 */
export function chainOf(given: readonly Signature[]): Signature {
  const steps: Signature[] = []
  const add = (step: Signature): void => {
    const { call, tasks } = step
    const [only] = tasks
    if (call.subtaskType === 'chain' && call.plumbing === undefined) for (const inner of unchained(step)) add(inner)
    else if (call.subtaskType !== 'group' || tasks.length !== 1 || only === undefined) append(step)
    // Celery: a group that leads takes whatever follows it for its body.
    else if (steps.length === 1 && steps[0]?.call.subtaskType === 'group') steps[0] = chordOf(steps[0], step)
    else if (Object.keys(call.options).length === 0 && call.plumbing === undefined) add(only)
    // Its options become its member's when the chain is sent.
    else append(composite('chain', { tasks: [step] }, [step]))
  }
  const append = (step: Signature): void => {
    const last = steps.at(-1)
    if (isEmptyGroup(step) && last !== undefined) return
    if (step.call.subtaskType !== 'group' && last?.call.subtaskType === 'group') steps[steps.length - 1] = chordOf(last, step)
    else if (last?.call.subtaskType === 'chord' && endsInGroup(last)) steps[steps.length - 1] = last.withBody((body) => body.pipe(step))
    else steps.push(step)
  }
  for (const step of given) add(step)
  const [first] = steps
  // A chain of one group is no group: as a member of another its list stays a list.
  if (steps.length === 1 && first !== undefined && (first.call.subtaskType === 'chain' || first.call.subtaskType === 'chord')) return first
  return composite('chain', { tasks: steps }, steps)
}

function isEmptyGroup({ call, tasks }: Signature): boolean {
  return call.subtaskType === 'group' && tasks.length === 0
}

/** Its result is a list: whatever follows it waits for all of them. */
function endsInGroup(signature: Signature): boolean {
  switch (signature.call.subtaskType) {
    case 'group':
      return true
    case 'chord':
      return endsInGroup(signature.call.kwargs.body as Signature) // a chord has one
    case 'chain': {
      const last = signature.tasks.at(-1)
      return last !== undefined && endsInGroup(last)
    }
    default:
      return false
  }
}

/** The steps of a chain that becomes part of another: its callbacks and its id go with the last one, its errbacks with each, its other options with the first. */
function unchained(chain: Signature): readonly Signature[] {
  const { link, linkError, taskId, ...rest } = chain.call.options
  const steps = [...chain.tasks]
  const [first] = steps
  if (first !== undefined && Object.keys(rest).length > 0) steps[0] = first.set(rest)
  return steps.map((step, index) => {
    let told = step
    for (const errback of listOf(linkError)) told = told.linkError(errback)
    if (index < steps.length - 1) return told
    for (const callback of listOf(link)) told = told.link(callback)
    return taskId === undefined ? told : told.set({ taskId })
  })
}

/** A header that is no group is one step, and its result is what the body gets. */
export function chordOf(header: Signature, body: Signature): Signature {
  if (header.call.subtaskType !== 'group') return chainOf([header, body])
  return composite('chord', { kwargs: {}, header, body }, [...header.tasks, body])
}

/** A composite keeps its members in kwargs, as Celery writes them; it is sent by whoever sends its first member. */
export function composite(
  kind: 'chain' | 'group' | 'chord',
  kwargs: Record<string, unknown>,
  members: readonly Signature[],
  empty: SignatureSender = refusesToSend,
): Signature {
  const sender = members[0]?.sender ?? empty
  return new Signature({ task: `celery.${kind}`, args: [], kwargs, options: {}, subtaskType: kind, immutable: false }, sender)
}

const refusesToSend: SignatureSender = {
  send: (signature) => {
    throw new TypeError(`${signature.task} has no members, so there is nothing to send`)
  },
  errbacksOnHeaders: false,
}

/** Options as they stand in a message, their links as data. Throws as `wireOptions`. */
export function plainOptions(options: ApplyOptions): Record<string, unknown> {
  return plain(wireOptions(options))
}

/** Signatures among the values, alone or in lists, as data; all else stays as it is. */
function plain(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const one = (value: unknown): unknown => (value instanceof Signature ? value.toJSON() : value)
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.map(one) : one(value)]))
}
