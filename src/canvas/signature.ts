import type { WireSignature } from '../protocol/signature.js'
import type { Enqueued } from './handles.js'
import type { AnyLink, ApplyOptions } from './options.js'
import { wireOptions } from './wire-options.js'

/**
 * A call as data: a task with arguments and options, to be sent now, later, or by another task.
 *
 * Prev – what it accepts from the step before it: `never` when its arguments are already full, `unknown` when it is immutable (si) and takes no notice.
 * R – what it returns. Ready – true when it can run with nothing before it.
 */
export interface Sig<in Prev, out R, out Ready extends boolean> {
  readonly '~prev': (prev: Prev) => void
  readonly '~result': R
  readonly '~ready': Ready
  readonly task: string
  /** A copy with these options over its own. */
  set(options: ApplyOptions): Sig<Prev, R, Ready>
  /** This one, then `next` with the result of this one. */
  pipe<R2>(next: Sig<R, R2, boolean>): Sig<Prev, R2, Ready>
  /** A copy that sends `callback` with its result when it succeeds. */
  link(callback: Sig<R, unknown, boolean>): Sig<Prev, R, Ready>
  // biome-ignore lint/suspicious/noExplicitAny: an errback takes the failed task's id, whatever the task was
  linkError(errback: Sig<any, unknown, boolean>): Sig<Prev, R, Ready>
  /** The same as `linkError`, to be read in a chain. */
  // biome-ignore lint/suspicious/noExplicitAny: as linkError
  onError(errback: Sig<any, unknown, boolean>): Sig<Prev, R, Ready>
  stamp(stamps: Record<string, unknown>): Sig<Prev, R, Ready>
  delay(this: Sig<never, R, true>): Enqueued<R>
  applyAsync(this: Sig<never, R, true>, options?: ApplyOptions): Enqueued<R>
  /** Celery's own form: `{task, args, kwargs, options, subtask_type, immutable}`. */
  toJSON(): unknown
}

/** What sends signatures: the app. Canvas makes data only. */
export interface SignatureSender {
  send(signature: Signature, options: ApplyOptions): Enqueued<unknown>
}

/** The parts of a call. */
export interface Call {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: ApplyOptions
  readonly subtaskType: 'chain' | 'group' | 'chord' | null
  readonly immutable: boolean
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

  set(options: ApplyOptions): Signature {
    return new Signature({ ...this.call, options: { ...this.call.options, ...options } }, this.sender)
  }

  pipe(next: Sig<never, unknown, boolean>): Signature & Sig<never, never, true> {
    // Only the types tell what the chain takes and gives.
    return chainOf([this, signatureOf(next)]) as Signature & Sig<never, never, true>
  }

  link(callback: Sig<never, unknown, boolean>): Signature {
    return this.set({ link: [...listOf(this.call.options.link), asLink(callback)] })
  }

  linkError(errback: Sig<never, unknown, boolean>): Signature {
    return this.set({ linkError: [...listOf(this.call.options.linkError), asLink(errback)] })
  }

  onError(errback: Sig<never, unknown, boolean>): Signature {
    return this.linkError(errback)
  }

  stamp(stamps: Record<string, unknown>): Signature {
    return this.set({ stamps: { ...this.call.options.stamps, ...stamps } })
  }

  delay(): Enqueued<unknown> {
    return this.sender.send(this, {})
  }

  applyAsync(options: ApplyOptions = {}): Enqueued<unknown> {
    return this.sender.send(this, options)
  }

  toJSON(): WireSignature {
    const { task, args, kwargs, options, subtaskType, immutable } = this.call
    return { task, args: [...args], kwargs: { ...kwargs }, options: wireOptions(options), subtask_type: subtaskType, immutable }
  }
}

/** Every `Sig` is a Signature; this says so to the compiler, and to callers who made their own. */
export function signatureOf(sig: Sig<never, unknown, boolean>): Signature {
  if (sig instanceof Signature) return sig
  throw new TypeError('expected a signature made by task.s(), task.si(), chain(), group() or chord()')
}

/** Whether a callback fits its task is checked where it is linked (the types of `Sig.link`); in the options every link is as good as another. */
function asLink(sig: Sig<never, unknown, boolean>): AnyLink {
  return signatureOf(sig) as unknown as AnyLink
}

/** A list of what may be one or many. */
export function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value : [value as T]
}

/** Chains flatten: (a | b) | c is a | b | c. */
export function chainOf(steps: readonly Signature[]): Signature {
  const tasks = steps.flatMap((step) => (step.call.subtaskType === 'chain' ? (step.call.kwargs.tasks as Signature[]) : [step]))
  return composite('chain', { tasks }, steps)
}

/** A composite keeps its members in kwargs, as Celery writes them; it is sent by whoever sends its first member. */
export function composite(kind: 'chain' | 'group' | 'chord', kwargs: Record<string, unknown>, members: readonly Signature[]): Signature {
  const first = members[0]
  const sender = first?.sender ?? emptySender
  return new Signature({ task: `celery.${kind}`, args: [], kwargs, options: {}, subtaskType: kind, immutable: false }, sender)
}

const emptySender: SignatureSender = {
  send: (signature) => {
    throw new TypeError(`${signature.task} has no members, so there is nothing to send`)
  },
}
