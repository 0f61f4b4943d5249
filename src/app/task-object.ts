import { randomUUID } from 'node:crypto'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Enqueued } from '../canvas/handles.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { Signature } from '../canvas/signature.js'
import { ArgumentsInvalidError, NotSupportedError, OptionInvalidError, OptionUnknownError, show } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { type Arguments, boundArguments } from './arguments.js'
import { enqueued } from './async-result.js'
import { withoutUndefined } from './call-options.js'
import { runningTask } from './context.js'
import type { Sender } from './sender.js'
import type { TaskDefinition, TaskOptions } from './task.js'
import { checkTaskOptions } from './task-options.js'

/** What `app.task()` may be given beside TaskOptions: the shape of the task. */
export interface TaskShape {
  kwargs?: StandardSchemaV1<unknown, unknown>
  args?: StandardSchemaV1<unknown, unknown>
  params?: readonly string[]
  bind?: boolean
}

const optionNames: ReadonlySet<string> = new Set<keyof TaskOptions | keyof TaskShape>([
  'queue',
  'routingKey',
  'priority',
  'serializer',
  'compression',
  'expires',
  'maxRetries',
  'defaultRetryDelay',
  'autoretryFor',
  'dontAutoretryFor',
  'retryBackoff',
  'retryBackoffMax',
  'retryJitter',
  'rateLimit',
  'timeLimit',
  'softTimeLimit',
  'acksLate',
  'acksOnFailureOrTimeout',
  'rejectOnWorkerLost',
  'trackStarted',
  'ignoreResult',
  'sendEvents',
  'storeErrorsEvenIfIgnored',
  'throws',
  'pool',
  'concurrency',
  'description',
  'kwargs',
  'args',
  'params',
  'bind',
])

/** From what a program wrote to what the app keeps. Throws for options that do not exist, contradict each other, or need a later version. */
export function defineTask(name: string, options: TaskOptions & TaskShape, run: (...args: never[]) => unknown): TaskDefinition {
  if (typeof options !== 'object' || options === null)
    throw new OptionInvalidError(`the function of task ${name}`, 'a function, or options and a function', options)
  for (const option of Object.keys(options)) {
    if (!optionNames.has(option)) throw new OptionUnknownError(option, didYouMean(option, [...optionNames]))
  }
  if (typeof run !== 'function') throw new OptionInvalidError(`the function of task ${name}`, 'a function', run)
  const { kwargs, args, params = [], bind = false, ...own } = options
  if (kwargs !== undefined && args !== undefined)
    throw new OptionInvalidError(`the schema of task ${name}`, 'either kwargs or args', 'both')
  checkShape(name, { kwargs, args, params, bind })
  checkTaskOptions(name, own)
  return { name, options: own, params, kwargsSchema: kwargs, argsSchema: args, bound: bind, run }
}

const schemaWords = 'a schema of a Standard Schema library such as Zod, Valibot or ArkType'

function checkShape(name: string, { kwargs, args, params, bind }: TaskShape): void {
  for (const [option, schema] of Object.entries({ kwargs, args })) {
    if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function')
      throw new OptionInvalidError(`${option} of task ${name}`, schemaWords, schema)
  }
  const isList = Array.isArray(params) && params.every((param) => typeof param === 'string' && param !== '')
  if (!isList || new Set(params).size < params.length)
    throw new OptionInvalidError(`params of task ${name}`, 'a list of names, each of them once', params)
  if (typeof bind !== 'boolean') throw new OptionInvalidError(`bind of task ${name}`, 'true or false', bind)
}

/** What `app.task()` gives back: callable, and with everything that sends it. One class serves tasks of both shapes, and remote ones. */
export interface TaskObject {
  (...args: unknown[]): Promise<unknown>
  readonly name: string
  delay(...args: unknown[]): Enqueued<unknown>
  applyAsync(call: unknown, options?: ApplyOptions): Enqueued<unknown>
  s(...args: unknown[]): Signature
  si(...args: unknown[]): Signature
  with(options: ApplyOptions): TaskObject
  starmap(items: Iterable<readonly unknown[]>): Signature
  chunks(items: Iterable<readonly unknown[]>, size: number): Signature
  map(items: Iterable<unknown>): Signature
}

/** How a call's arguments become Celery's: a task of one object sends its fields as kwargs. */
export type CallShape = 'positional' | 'object'

export interface TaskObjectParts {
  readonly name: string
  readonly sender: Sender
  /** Undefined for a task that lives elsewhere. */
  readonly definition: TaskDefinition | undefined
  readonly shape: CallShape | 'unknown'
  readonly options: ApplyOptions
}

export function taskObject(parts: TaskObjectParts): TaskObject {
  const { name, sender, definition, options } = parts
  const apply = (read: () => Arguments, more?: ApplyOptions): Enqueued<unknown> => {
    let call: Arguments
    try {
      call = read()
    } catch (error) {
      // As every other refusal of a call: not thrown at once, but told by the promise.
      return enqueued(more?.taskId ?? options.taskId ?? randomUUID(), Promise.reject(error))
    }
    return sender.apply({
      task: name,
      definition,
      ...call,
      options: more === undefined ? options : { ...options, ...withoutUndefined(more) },
    })
  }
  const signature = (call: Arguments, immutable: boolean): Signature =>
    new Signature({ task: name, ...call, options, subtaskType: null, immutable }, sender)
  const over = (kind: string, kwargs: Record<string, unknown>): Signature =>
    new Signature(
      {
        task: `celery.${kind}`,
        args: [],
        kwargs: { task: signature({ args: [], kwargs: {} }, false), ...kwargs },
        options,
        subtaskType: null,
        immutable: true,
      },
      sender,
    )
  const positional = (args: readonly unknown[]): Arguments => spread(parts, args)
  const task = Object.assign(async (...args: unknown[]) => callHere(parts, positional(args)), {
    delay: (...args: unknown[]) => apply(() => positional(args)),
    applyAsync: (call: unknown, more: ApplyOptions = {}) => {
      const isGiven = typeof more === 'object' && more !== null
      return apply(() => argumentsOf(parts, isGiven ? call : refusedOptions(name, more)), isGiven ? more : {})
    },
    s: (...args: unknown[]) => signature(positional(args), false),
    si: (...args: unknown[]) => signature(positional(args), true),
    with: (more: ApplyOptions) => taskObject({ ...parts, options: { ...options, ...withoutUndefined(more) } }),
    starmap: (items: Iterable<readonly unknown[]>) => over('starmap', { it: Array.from(items) }),
    chunks: (items: Iterable<readonly unknown[]>, size: number) => over('chunks', { it: Array.from(items), n: size }),
    map: (items: Iterable<unknown>) => over('map', { it: Array.from(items) }),
  })
  return Object.defineProperty(task, 'name', { value: name, enumerable: true })
}

/** Arguments as written at the call: `delay(1, 2)`, or `delay({ to })` for a task of one object. */
function spread(parts: TaskObjectParts, args: readonly unknown[]): Arguments {
  const { name, shape } = parts
  const [only] = args
  // A remote task's shape is not known here: one plain object is what a task of one object takes.
  if (shape === 'positional' || (shape === 'unknown' && !(args.length === 1 && isPlainObject(only))))
    return { args: given(parts, args), kwargs: {} }
  if (args.length > 1 || !(only === undefined || isPlainObject(only)))
    throw new ArgumentsInvalidError(name, [
      { path: '', message: `expected one plain object of named arguments, got: ${args.map(show).join(', ')}` },
    ])
  return { args: [], kwargs: only ?? {} }
}

/** `undefined` at the end is an argument that was not given: JSON would make null of it, which no default value stands in for. A schema of all arguments counts them itself. */
function given({ definition }: TaskObjectParts, args: readonly unknown[]): readonly unknown[] {
  if (args.at(-1) !== undefined || args.length === 0 || definition?.argsSchema !== undefined) return args
  return args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1)
}

function refusedOptions(task: string, given: unknown): never {
  throw new OptionInvalidError(`the options of ${task}.applyAsync`, 'an object', given)
}

/** The first argument of applyAsync: a list, the parameters by name, or `{ args, kwargs }`. */
function argumentsOf(parts: TaskObjectParts, call: unknown): Arguments {
  if (Array.isArray(call)) return { args: given(parts, call), kwargs: {} }
  if (!isPlainObject(call))
    throw new OptionInvalidError(`the first argument of ${parts.name}.applyAsync`, 'a list of arguments, or an object of named ones', call)
  const { args, kwargs } = call
  if (Array.isArray(args) && isPlainObject(kwargs) && Object.keys(call).length === 2) return { args, kwargs }
  return { args: [], kwargs: call }
}

/** A plain local call: schema and function, no middleware, no message. */
async function callHere({ name, definition }: TaskObjectParts, call: Arguments): Promise<unknown> {
  if (definition === undefined) throw new NotSupportedError(`calling ${name} here`, 'only its type is known in this program; use delay()')
  const args = await boundArguments(definition, call)
  const run = definition.run as (...args: unknown[]) => unknown // the list was bound to its parameters just now
  const context = runningTask()
  if (definition.kwargsSchema === undefined && !definition.bound) return run(...args)
  const self = context?.context ?? localContext(name)
  return definition.kwargsSchema === undefined ? run(self, ...args) : run(args[0], self)
}

/** A task called as a function outside any worker has no message: what needs one says so. */
function localContext(name: string): unknown {
  return new Proxy(Object.create(null), {
    get: (_, property) => {
      if (property === 'signal') return new AbortController().signal
      if (property === 'then') return undefined
      throw new ArgumentsInvalidError(name, [
        {
          path: `self.${String(property)}`,
          message: 'there is no running task: the function was called directly. Use delay(), or testApp().run() in a test',
        },
      ])
    },
  })
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
