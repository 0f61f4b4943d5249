/** Where links and errbacks of composed signatures go: to the tasks that run. */
import { isDeepStrictEqual } from 'node:util'
import type { WireSignature } from '../protocol/signature.js'
import { bodyOf, headerOf, kindOf, listAt, type Options, signatureAt, tasksOf, withBody, withTasks } from './members.js'
import { mergedOptions } from './merged-options.js'

/** Appended unless it is there. */
function withLinked(options: Options, option: 'link' | 'link_error', signatures: readonly unknown[]): Options {
  const list = [...listAt(options, option)]
  for (const signature of signatures) if (!list.some((known) => isDeepStrictEqual(known, signature))) list.push(signature)
  return { ...options, [option]: list }
}

/** Callbacks of a chord are its body's; of a chain its last task's, when it is sent; of a group the first task's, without an argument. */
export function withCallbacks(signature: WireSignature, callbacks: readonly unknown[]): WireSignature {
  if (callbacks.length === 0) return signature
  switch (kindOf(signature)) {
    case 'chord':
      return withBody(signature, withCallbacks(bodyOf(signature), callbacks))
    case 'group': {
      const [first, ...rest] = tasksOf(signature)
      if (first === undefined) return signature
      const immutable = callbacks.map((callback) => ({ ...signatureAt(callback, 'link'), immutable: true }))
      return withTasks(signature, [withCallbacks(signatureAt(first, 'kwargs.tasks'), immutable), ...rest])
    }
    default:
      return { ...signature, options: withLinked(signature.options, 'link', callbacks) }
  }
}

/** Errbacks of a chord are its body's (and its header's, with `taskAllowErrorCbOnChordHeader`; chords in the header are always told), of a group each member's. */
export function withErrbacks(signature: WireSignature, errbacks: readonly unknown[], onHeaders: boolean): WireSignature {
  if (errbacks.length === 0) return signature
  const toEach = (tasks: readonly unknown[], only?: 'chord'): WireSignature[] =>
    tasks.map((task) => {
      const member = signatureAt(task, 'kwargs.tasks')
      return only === undefined || kindOf(member) === only ? withErrbacks(member, errbacks, onHeaders) : member
    })
  switch (kindOf(signature)) {
    case 'chord': {
      const header = headerOf(signature)
      const told = withTasks(header, toEach(tasksOf(header), onHeaders ? undefined : 'chord'))
      const body = withErrbacks(bodyOf(signature), errbacks, onHeaders)
      return { ...signature, kwargs: { ...signature.kwargs, header: told, body } }
    }
    case 'group':
      return withTasks(signature, toEach(tasksOf(signature)))
    default:
      return { ...signature, options: withLinked(signature.options, 'link_error', errbacks) }
  }
}

/** Options that a chain itself takes up when it is sent; all others are for its first task. */
const ofTheChain: ReadonlySet<string> = new Set([
  'chain',
  'chord',
  'group_id',
  'group_index',
  'link',
  'link_error',
  'parent_id',
  'root_id',
  'task_id',
])

/** What a group's options say of the group itself and of where it stands. */
const ofTheGroup: ReadonlySet<string> = new Set([...ofTheChain, 'add_to_parent', 'reply_to'])

/** The members of a group that becomes a part of another group, or of a chain: its other options are theirs, as when it is sent by itself. */
export function ungroup(group: WireSignature, onHeaders: boolean): readonly unknown[] {
  const own = Object.fromEntries(Object.entries(group.options).filter(([name]) => !ofTheGroup.has(name)))
  const told = withErrbacks(group, listAt(group.options, 'link_error'), onHeaders)
  const members = tasksOf(withCallbacks(told, listAt(group.options, 'link')))
  if (Object.keys(own).length === 0) return members
  return members.map((task) => {
    const member = signatureAt(task, 'kwargs.tasks')
    return { ...member, options: mergedOptions(member.options, own) }
  })
}

export function firstTaskOptions(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !ofTheChain.has(name)))
}

/** The steps of a chain that becomes part of another: its callbacks go with the last one, its errbacks with each, its options with the first. */
export function unchain(chain: WireSignature, onHeaders: boolean): WireSignature[] {
  const { options, args } = chain
  const errbacks = listAt(options, 'link_error')
  const steps = tasksOf(chain).map((task) => withErrbacks(signatureAt(task, 'kwargs.tasks'), errbacks, onHeaders))
  const [first] = steps
  const last = steps.length - 1
  if (first === undefined) return steps
  const own = firstTaskOptions(options)
  if (Object.keys(own).length > 0 || args.length > 0)
    steps[0] = { ...first, args: first.immutable ? first.args : [...args, ...first.args], options: { ...first.options, ...own } }
  steps[last] = withCallbacks(steps[last] as WireSignature, listAt(options, 'link')) // there is a first, so there is a last
  return steps
}
