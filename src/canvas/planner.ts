/** Plans a signature: which messages start it (celery/canvas.py apply_async of task, chain, group and chord; celery-wire 2.2 to 2.7). */
import { InvalidMessageError, show } from '../errors.js'
import type { WireSignature } from '../protocol/signature.js'
import { Freezer, type Frozen, isEmptyChain, type Place, straight } from './freeze.js'
import { firstTaskOptions, ungroup, withCallbacks, withErrbacks } from './links.js'
import { bodyOf, chordSize, headerOf, kindOf, listAt, nameAt, type Options, signatureAt, tasksOf, withTasks } from './members.js'
import { mergedOptions, stampsOver } from './merged-options.js'
import type { Given, Plan, PlannedCall, PlanStep } from './plan.js'
import { oldest, type ResultNode, resultNode, toTuple } from './result-node.js'

/** Throws InvalidMessageError for what is no signature, and for a chain without tasks. An empty group has no steps; the body of a chord with an empty header is sent with `[]`. */
export function planSignature(signature: WireSignature, given: Given): Plan {
  const options: Record<string, unknown> = { ...given.options }
  const put = (name: string, value: unknown): void => {
    if (value !== undefined && value !== null) options[name] = value
  }
  put('task_id', given.taskId)
  put('root_id', given.rootId)
  put('parent_id', given.parentId)
  put('chain', given.chain)
  put('chord', given.chord)
  put('group_id', given.groupId)
  put('group_index', given.groupIndex)
  const planner = new Planner(given)
  const planned = planner.apply(signatureAt(signature, 'signature'), {
    args: given.args ?? [],
    kwargs: given.kwargs ?? {},
    options: withoutNulls(options),
    path: '',
  })
  return {
    steps: planned.steps,
    result: toTuple(planned.result),
    // Asked for by tasks that send workflows, which may have very many members.
    get started() {
      return toTuple({ ...planned.started, parent: null })
    },
    hasChords: planner.hasChords,
  }
}

/** One call of a signature: what is put over it. */
interface Call {
  readonly args: readonly unknown[]
  readonly kwargs: Options
  /** None is null. */
  readonly options: Options
  readonly path: string
}

interface Planned {
  readonly result: ResultNode
  readonly started: ResultNode
  readonly steps: Iterable<PlanStep>
}

class Planner {
  readonly #freezer: Freezer
  readonly #newId: (path: string) => string
  readonly #errbacksOnHeaders: boolean
  #hasChords = false

  constructor({ newId, replyTo, errbacksOnHeaders = false }: Given) {
    this.#newId = newId
    this.#errbacksOnHeaders = errbacksOnHeaders
    this.#freezer = new Freezer({ newId, replyTo, errbacksOnHeaders })
  }

  get hasChords(): boolean {
    return this.#freezer.hasChords || this.#hasChords
  }

  apply(signature: WireSignature, call: Call): Planned {
    switch (kindOf(signature)) {
      case 'task':
        return this.#task(signature, call)
      case 'chain':
        return this.#chain(signature, call)
      case 'group':
        return this.#group(signature, call)
      case 'chord':
        return this.#chord(signature, call)
    }
  }

  #task(signature: WireSignature, call: Call): Planned {
    const merged = merge(signature, call)
    const id = nameAt(merged.options, 'task_id') ?? this.#newId(call.path)
    const step: PlanStep = { kind: 'send', call: this.#callOf(id, merged, call.path) }
    const result = resultNode(id)
    return { result, started: result, steps: [step] }
  }

  #chain(signature: WireSignature, { args, kwargs, options: given, path }: Call): Planned {
    const options: Options = { ...signature.options, ...given }
    const steps = this.#freezer.steps(tasksOf(signature), {
      path,
      id: nameAt(options, 'task_id'),
      rootId: nameAt(options, 'root_id'),
      groupId: nameAt(options, 'group_id'),
      groupIndex: numberAt(options, 'group_index'),
      chord: options.chord,
      args: signature.args,
      errbacks: listAt(options, 'link_error'),
      sent: true,
    })
    const [last, ...before] = steps.reversed
    const tasks = [withCallbacks(last as WireSignature, listAt(options, 'link')), ...before] // a chain has a last step
    const first = tasks.pop() as WireSignature // and so a first one
    const parent = nameAt(options, 'parent_id')
    const applied = this.apply(first, {
      args: signature.immutable ? [] : args,
      kwargs: signature.immutable ? {} : kwargs,
      options: {
        ...firstTaskOptions(options),
        chain: [...listAt(options, 'chain'), ...tasks],
        ...(parent === undefined ? {} : { parent_id: parent }),
      },
      path: `${path}/0`,
    })
    // A group at its end is known by its members, which are made when it is sent.
    return { ...applied, result: tasks.length === 0 ? applied.result : steps.result }
  }

  #group(signature: WireSignature, call: Call): Planned {
    const { path } = call
    const { task_id: _, chord, link, link_error: errbacks, group_index: __, ...options } = mergedOptions(signature.options, call.options)
    const id = nameAt(call.options, 'task_id') ?? nameAt(signature.options, 'task_id') ?? this.#newId(path)
    const linked = withCallbacks(
      withErrbacks(signature, listAt({ errbacks }, 'errbacks'), this.#errbacksOnHeaders),
      listAt({ link }, 'link'),
    )
    const members: WireSignature[] = []
    const results: ResultNode[] = []
    for (const [index, member] of unrolled(tasksOf(linked), this.#freezer, this.#errbacksOnHeaders)) {
      const place = { path: `${path}/${members.length}`, groupId: id, groupIndex: index, rootId: nameAt(options, 'root_id') }
      const frozen = this.#freezer.freeze(member, place)
      members.push(frozen.signature)
      results.push(frozen.result)
    }
    const [only] = results
    const result = results.length === 1 && only !== undefined && only.members !== null ? only : resultNode(id, results)
    const each: Call = {
      args: [...call.args, ...signature.args],
      kwargs: call.kwargs,
      options: { ...options, group_id: id, ...(chord === undefined ? {} : { chord }) },
      path,
    }
    return { result, started: result, steps: this.#sends(members, each) }
  }

  *#sends(members: readonly WireSignature[], each: Call): Generator<PlanStep> {
    for (const [index, member] of members.entries()) yield* this.apply(member, { ...each, path: `${each.path}/${index}` }).steps
  }

  #chord(signature: WireSignature, { args, kwargs, options: given, path }: Call): Planned {
    const { link, link_error: errbacks, countdown, eta, ...options }: Record<string, unknown> = { ...signature.options, ...given }
    this.#hasChords = true
    const header = headerOf(signature)
    const groupId = nameAt(header.options, 'task_id') ?? this.#newId(`${path}/header`)
    const size = chordSize(tasksOf(header))
    const { task_id: wanted, parent_id: parentId, ...forBody } = options
    const own = linkedBody(bodyOf(signature), listAt({ link }, 'link'), listAt({ errbacks }, 'errbacks'))
    const straightened =
      kindOf(own) === 'chain' ? withTasks(own, straight(tasksOf(own), { sent: true, errbacksOnHeaders: this.#errbacksOnHeaders })) : own
    // Celery lets the group that a chord is a member of win here, also when the body is a part of another chord, which then never ends.
    const part = straightened.options.chord === undefined ? undefined : nameAt(straightened.options, 'group_id')
    const body = this.#freezer.freeze(
      {
        ...straightened,
        options: {
          ...straightened.options,
          ...forBody,
          ...stampsOver(straightened.options, forBody),
          ...(part === undefined ? {} : { group_id: part }),
        },
      },
      {
        path: `${path}/body`,
        id: typeof wanted === 'string' ? wanted : undefined,
        groupId,
        rootId: nameAt(forBody, 'root_id'),
        ...partOf(forBody),
      },
    )
    const { chain: _, chord: __, group_id: ___, group_index: ____, ...forHeader } = forBody
    const delay = { ...(countdown === undefined ? {} : { countdown }), ...(eta === undefined ? {} : { eta }) }
    if (size === 0) {
      oldest(body.result).parent = resultNode(groupId, [])
      const call = { args: [[]], kwargs: {}, options: parentId === undefined ? {} : { parent_id: parentId }, path: `${path}/body` }
      return { ...this.apply(body.signature, call), result: body.result }
    }
    // The size is Celery 5.0's seventh key: a part whose chord is not known to the result store is then known to be lost, not early.
    const carried = { ...body.signature, chord_size: size }
    const frozen = this.#freezer.group(header, {
      path: `${path}/header`,
      id: groupId,
      groupId,
      rootId: nameAt(forBody, 'root_id'),
      chord: carried,
    })
    oldest(body.result).parent = frozen.result
    const sent = {
      args: signature.immutable ? [] : [...args, ...signature.args],
      kwargs: { ...recordAt(signature.kwargs, 'kwargs'), ...kwargs },
      options: { ...forHeader, ...delay, ...(parentId === undefined ? {} : { parent_id: parentId }), task_id: groupId },
      path: `${path}/header`,
    }
    return { result: body.result, started: frozen.result, steps: this.#counted(frozen, { size, body: carried }, sent) }
  }

  *#counted(header: Frozen, chord: { readonly size: number; readonly body: object }, call: Call): Generator<PlanStep> {
    const { id: groupId, members } = header.result
    yield { kind: 'chord', groupId, ...chord }
    if (members?.some((member) => member.members !== null)) yield { kind: 'saveGroup', groupId, tuple: toTuple(header.result) }
    yield* this.apply(header.signature, call).steps
  }

  #callOf(id: string, { task, args, kwargs, options }: WireSignature, path: string): PlannedCall {
    const {
      task_id: _,
      root_id: __,
      parent_id: ___,
      group_id: ____,
      group_index: _____,
      replaced_task_nesting: nesting,
      reply_to: ______,
      add_to_parent: _______,
      // Stray options of Python's errbacks (celery-wire 2.5).
      immutable: ________,
      chain,
      chord,
      link,
      link_error: errbacks,
      ...rest
    } = options
    return {
      id,
      task,
      args,
      kwargs,
      options: rest,
      embed: {
        callbacks: this.#linksWithIds(link, `${path}/link`),
        errbacks: this.#linksWithIds(errbacks, `${path}/error`),
        chain: chain === undefined ? null : listAt({ chain }, 'chain'),
        chord: chord ?? null,
      },
      rootId: nameAt(options, 'root_id') ?? null,
      parentId: nameAt(options, 'parent_id') ?? null,
      groupId: nameAt(options, 'group_id') ?? null,
      groupIndex: numberAt(options, 'group_index') ?? null,
      replacedTaskNesting: typeof nesting === 'number' ? nesting : 0,
      replyTo: nameAt(options, 'reply_to') ?? null,
    }
  }

  /** Links get their ids now, so that a task that is delivered again cannot send a second one under another id. */
  #linksWithIds(links: unknown, path: string): unknown[] | null {
    const list = listAt({ links }, 'links')
    if (list.length === 0) return null
    return list.map((link, index) => {
      const signature = signatureAt(link, path)
      if (kindOf(signature) !== 'task' || nameAt(signature.options, 'task_id') !== undefined) return signature
      return { ...signature, options: { ...signature.options, task_id: this.#newId(`${path}/${index}`) } }
    })
  }
}

/** Partial arguments in front of those of the signature; an immutable one takes options only. */
function merge(signature: WireSignature, { args, kwargs, options }: Call): WireSignature {
  const merged = mergedOptions(signature.options, options)
  if (signature.immutable) return { ...signature, options: merged }
  return {
    ...signature,
    args: args.length === 0 ? signature.args : [...args, ...signature.args],
    kwargs: { ...signature.kwargs, ...kwargs },
    options: merged,
  }
}

/** The members of a group that is sent as it is: those of groups in it come in their order, each numbered by its place in its own group (trap 20). */
function* unrolled(
  tasks: readonly unknown[],
  freezer: Freezer,
  onHeaders: boolean,
): Generator<readonly [index: number, member: WireSignature]> {
  for (const [index, task] of tasks.entries()) {
    const member = freezer.hasMade(task) ? task : signatureAt(task, 'kwargs.tasks')
    if (kindOf(member) === 'group') yield* unrolled(ungroup(member, onHeaders), freezer, onHeaders)
    else if (!isEmptyChain(member)) yield [index, member]
  }
}

/** The chord that this is sent as a part of (a task replaced by a chord, or adding one): the end of its body is that part, however deep it lies in the body. */
function partOf(options: Options): Pick<Place, 'chord' | 'groupId' | 'groupIndex'> {
  const groupId = nameAt(options, 'group_id')
  if (options.chord === undefined || groupId === undefined) return {}
  return { chord: options.chord, groupId, groupIndex: numberAt(options, 'group_index') }
}

/** Callbacks of a chord are its body's. Its errbacks are told of each task of a body that is a group, and of any other body as it stands: header tasks are not told. */
function linkedBody(body: WireSignature, callbacks: readonly unknown[], errbacks: readonly unknown[]): WireSignature {
  const linked = withCallbacks(body, callbacks)
  if (kindOf(linked) !== 'chord') return withErrbacks(linked, errbacks, false)
  return errbacks.length === 0
    ? linked
    : { ...linked, options: { ...linked.options, link_error: [...listAt(linked.options, 'link_error'), ...errbacks] } }
}

function numberAt(options: Options, option: string): number | undefined {
  const value = options[option]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new InvalidMessageError(`expected the option ${option} of a signature to be a whole number of 0 or more, got: ${show(value)}`)
}

function recordAt(kwargs: Options, name: string): Options {
  const value = kwargs[name]
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Options) : {} // an object, checked just now
}

function withoutNulls(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined))
}
