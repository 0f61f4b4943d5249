import type { WireSignature } from '../protocol/signature.js'
import type { Enqueued } from './handles.js'
import type { AnyLink, ApplyOptions, Sig } from './sig.js'
import { wireOptions } from './wire-options.js'

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

  /** As `toJSON`, but the members of a chain, a group or a chord stay signatures: there may be very many of them. */
  wire(): WireSignature {
    const { task, args, kwargs, options, subtaskType, immutable } = this.call
    return {
      task,
      args,
      kwargs: subtaskType === null ? plain(kwargs) : kwargs,
      options: plain(wireOptions(options)),
      subtask_type: subtaskType,
      immutable,
    }
  }

  toJSON(): WireSignature {
    const { args, kwargs, ...wire } = this.wire()
    return { ...wire, args: [...args], kwargs: this.call.subtaskType === null ? { ...kwargs } : plain(kwargs) }
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

/** Signatures among the values, alone or in lists, as data; all else stays as it is. */
function plain(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const one = (value: unknown): unknown => (value instanceof Signature ? value.toJSON() : value)
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.map(one) : one(value)]))
}
