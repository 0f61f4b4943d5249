/**
 * Gives ids to a signature and to everything in it that will be sent later by somebody else (celery-wire 2.3 to 2.7), so that whoever waits can be told now
 * what to wait for. An id that is there stays.
 */
import { InvalidMessageError } from '../errors.js'
import type { WireSignature } from '../protocol/signature.js'
import { unchain, ungroup, withCallbacks, withErrbacks } from './links.js'
import { bodyOf, chordOf, headerOf, kindOf, listAt, nameAt, signatureAt, tasksOf, withBody, withTasks } from './members.js'
import { oldest, type ResultNode, resultNode } from './result-node.js'

export interface Frozen {
  readonly signature: WireSignature
  readonly result: ResultNode
}

/** What the surroundings say of a signature. */
export interface Place {
  /** Where it stands in the canvas: ids are made from it. */
  readonly path: string
  /** The id that is wanted for its result, when it has none. */
  readonly id?: string | undefined
  readonly rootId?: string | undefined
  readonly groupId?: string | undefined
  readonly groupIndex?: number | undefined
  /** The frozen body of the chord that it is a part of. */
  readonly chord?: unknown
}

/** The steps of a chain, frozen. */
export interface Steps {
  /** In REVERSE order, as messages carry them: the last task first. */
  readonly reversed: readonly WireSignature[]
  readonly result: ResultNode
}

export interface ChainParts extends Place {
  /** The chain's own, for its first task. */
  readonly args: readonly unknown[]
  /** For every step. */
  readonly errbacks: readonly unknown[]
  /** It is sent now: a chord whose body is a chain becomes a chord and the steps after it, so that headers carry the first step and not the whole rest. */
  readonly sent: boolean
}

export interface FreezerOptions {
  readonly newId: (path: string) => string
  /** Where results go on brokers that carry them; written into everything that has no such address. */
  readonly replyTo?: string | undefined
  /** `taskAllowErrorCbOnChordHeader`. */
  readonly errbacksOnHeaders: boolean
}

export class Freezer {
  readonly #options: FreezerOptions
  /** Tasks as it gave them out: what is here needs no second reading. */
  readonly #made = new Set<unknown>()
  #hasChords = false

  constructor(options: FreezerOptions) {
    this.#options = options
  }

  hasMade(value: unknown): value is WireSignature {
    return this.#made.has(value)
  }

  /** It has seen a chord. */
  get hasChords(): boolean {
    return this.#hasChords
  }

  freeze(signature: WireSignature, place: Place): Frozen {
    switch (kindOf(signature)) {
      case 'task':
        return this.#task(signature, place)
      case 'chain':
        return this.#chain(signature, place)
      case 'group':
        return this.group(signature, place)
      case 'chord':
        return this.#chord(signature, place)
    }
  }

  idFor(signature: WireSignature, { id, path }: Place): string {
    return nameAt(signature.options, 'task_id') ?? id ?? this.#options.newId(path)
  }

  #task(signature: WireSignature, place: Place): Frozen {
    const { rootId, groupId, groupIndex, chord } = place
    const { replyTo } = this.#options
    const id = this.idFor(signature, place)
    const options: Record<string, unknown> = { ...signature.options, task_id: id }
    if (rootId !== undefined) options.root_id = rootId
    if (replyTo !== undefined && options.reply_to === undefined) options.reply_to = replyTo
    if (groupId !== undefined && options.group_id === undefined) options.group_id = groupId
    if (chord !== undefined) options.chord = chord
    if (groupIndex !== undefined) options.group_index = groupIndex
    const frozen = { ...signature, options }
    this.#made.add(frozen)
    return { signature: frozen, result: resultNode(id) }
  }

  /** A chain synchronizes by its last task: that one alone gets the id, the group and the chord of the place. */
  #chain(signature: WireSignature, place: Place): Frozen {
    const { reversed, result } = this.steps(tasksOf(signature), { ...place, args: signature.args, errbacks: [], sent: false })
    const tasks = [...reversed].reverse()
    return { signature: { ...withTasks(signature, tasks), args: [], options: { ...signature.options, task_id: result.id } }, result }
  }

  /** The members of a group that is frozen stand in one list: groups in it are flattened, each in REVERSE order (Celery's quirk, trap 21), and numbered then. */
  group(signature: WireSignature, place: Place): Frozen {
    const { rootId, groupId, groupIndex, chord, path } = place
    const id = this.idFor(signature, place)
    const members: WireSignature[] = []
    const results: ResultNode[] = []
    for (const member of flattened(tasksOf(signature), this.#options)) {
      const index = members.length
      const frozen = this.freeze(member, { path: `${path}/${index}`, rootId, groupId, groupIndex: index, chord })
      members.push(frozen.signature)
      results.push(frozen.result)
    }
    const options: Record<string, unknown> = { ...signature.options, task_id: id }
    if (rootId !== undefined) options.root_id ??= rootId
    if (groupId !== undefined) options.group_id = groupId
    if (groupIndex !== undefined) options.group_index = groupIndex
    if (chord !== undefined) options.chord = chord
    return { signature: { ...withTasks(signature, members), options }, result: resultNode(id, results) }
  }

  /** Header tasks get the body when they are sent: it would stand in the message once for each of them. */
  #chord(signature: WireSignature, place: Place): Frozen {
    const { rootId, path } = place
    this.#hasChords = true
    const header = headerOf(signature)
    const headerId = nameAt(header.options, 'task_id')
    const body = this.freeze(bodyOf(signature), {
      ...place,
      path: `${path}/body`,
      // A chord that is frozen has the id of its header; before, the id that its body is to get.
      id: place.id ?? (headerId === undefined ? nameAt(signature.options, 'task_id') : undefined),
    })
    const head = this.group(header, { path: `${path}/header`, rootId })
    oldest(body.result).parent = head.result
    const kwargs = { ...signature.kwargs, header: head.signature, body: body.signature }
    return { signature: { ...signature, kwargs, options: { ...signature.options, task_id: head.result.id } }, result: body.result }
  }

  /** Throws InvalidMessageError when there is no task in it. */
  steps(tasks: readonly unknown[], { path, args, errbacks, sent, ...place }: ChainParts): Steps {
    const steps = upgraded(straight(tasks, { ...this.#options, sent }))
    const [first] = steps
    if (first === undefined) throw new InvalidMessageError('a chain without tasks cannot be sent')
    steps[0] = withArguments(first, args)
    const reversed: WireSignature[] = []
    let result: ResultNode | undefined
    let later: ResultNode | undefined
    for (let index = steps.length - 1; index >= 0; index--) {
      const step = withErrbacks(steps[index] as WireSignature, errbacks, this.#options.errbacksOnHeaders) // index is within
      const own = `${path}/${index}`
      const frozen = this.freeze(step, index === steps.length - 1 ? { ...place, path: own } : { path: own, rootId: place.rootId })
      reversed.push(frozen.signature)
      if (later === undefined) result = frozen.result
      else oldest(later).parent = frozen.result
      later = frozen.result
    }
    return { reversed, result: result as ResultNode } // there is a first step
  }
}

/** Partial arguments in front; an immutable task takes none. */
function withArguments(signature: WireSignature, args: readonly unknown[]): WireSignature {
  return signature.immutable || args.length === 0 ? signature : { ...signature, args: [...args, ...signature.args] }
}

/** Chains without steps are no members: nothing would ever end. */
export function isEmptyChain(signature: WireSignature): boolean {
  return kindOf(signature) === 'chain' && tasksOf(signature).length === 0
}

function* flattened(tasks: readonly unknown[], { errbacksOnHeaders }: Pick<FreezerOptions, 'errbacksOnHeaders'>): Generator<WireSignature> {
  const stack: unknown[] = [...tasks].reverse()
  while (stack.length > 0) {
    const member = signatureAt(stack.pop(), 'kwargs.tasks')
    // Each is put before the one that was put before it.
    if (kindOf(member) === 'group') for (const inner of ungroup(member, errbacksOnHeaders)) stack.push(inner)
    else if (!isEmptyChain(member)) yield member
  }
}

/** The steps of a chain: chains in chains are part of them, a group of one is its member, an empty group is left out (unless there is nothing else). */
export function straight(
  tasks: readonly unknown[],
  { sent, errbacksOnHeaders }: Pick<ChainParts, 'sent'> & Pick<FreezerOptions, 'errbacksOnHeaders'>,
): WireSignature[] {
  const steps: WireSignature[] = []
  let empty: WireSignature | undefined
  const stack: unknown[] = [...tasks].reverse()
  while (stack.length > 0) {
    const step = signatureAt(stack.pop(), 'kwargs.tasks')
    const kind = kindOf(step)
    const members = kind === 'group' ? tasksOf(step) : []
    if (kind === 'chain') pushReversed(stack, unchain(step, errbacksOnHeaders))
    else if (kind === 'group' && members.length === 1) stack.push(...ungroup(step, errbacksOnHeaders))
    else if (kind === 'group' && members.length === 0) empty = step
    else if (kind === 'chord' && sent && isTaskLedChain(bodyOf(step))) {
      const [head, ...rest] = unrolledChord(step, errbacksOnHeaders)
      pushReversed(stack, rest)
      steps.push(head)
    } else steps.push(step)
  }
  return steps.length === 0 && empty !== undefined ? [empty] : steps
}

/**
 * A chord whose body is a chain that a task leads, as the chord of that task and the steps after it. What the chord's options say of its end (an id, callbacks) goes
 * with the last step, its errbacks with each.
 */
function unrolledChord(chord: WireSignature, errbacksOnHeaders: boolean): readonly [WireSignature, ...WireSignature[]] {
  const [first, ...rest] = unchain(bodyOf(chord), errbacksOnHeaders)
  const head = withBody(chord, first as WireSignature) // such a chain has a first step
  const last = rest.pop()
  if (last === undefined) return [head]
  const { link: _, task_id: id, ...options } = chord.options
  const errbacks = listAt(chord.options, 'link_error')
  const linked = withCallbacks(last, listAt(chord.options, 'link'))
  // A chord that is frozen has the id of its header.
  const isFrozen = id === undefined || nameAt(headerOf(chord).options, 'task_id') !== undefined
  const end = isFrozen ? linked : { ...linked, options: { task_id: id, ...linked.options } }
  return [
    { ...head, options: isFrozen && id !== undefined ? { ...options, task_id: id } : options },
    ...[...rest, end].map((step) => withErrbacks(step, errbacks, false)),
  ]
}

function pushReversed(stack: unknown[], values: readonly unknown[]): void {
  for (let index = values.length - 1; index >= 0; index--) stack.push(values[index])
}

/** A group that leads runs the rest once all its members have ended, so such a chain stays together. */
function isTaskLedChain(body: WireSignature): boolean {
  if (kindOf(body) !== 'chain') return false
  const [first] = tasksOf(body)
  return first !== undefined && kindOf(signatureAt(first, 'kwargs.tasks')) !== 'group'
}

/** group | step is chord(group, step): from the end, so that the body of one may be another. */
function upgraded(steps: readonly WireSignature[]): WireSignature[] {
  const reversed: WireSignature[] = []
  for (let index = steps.length - 1; index >= 0; index--) {
    const step = steps[index] as WireSignature // index is within
    const next = kindOf(step) === 'group' ? reversed.pop() : undefined
    reversed.push(next === undefined ? step : chordOf(step, next))
  }
  return reversed.reverse()
}
