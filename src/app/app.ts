import type { StandardSchemaV1 } from '@standard-schema/spec'
import { signatureFrom } from '../canvas/from-json.js'
import type { AsyncResult, Enqueued, GroupResult } from '../canvas/handles.js'
import type { BeatCall, BeatSchedule, EntryOptions, Schedule } from '../canvas/schedules.js'
import type { ApplyOptions, Sig } from '../canvas/sig.js'
import { DecodeError, OptionInvalidError, OptionUnknownError, show } from '../errors.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import { didYouMean } from '../internal/did-you-mean.js'
import type { Duration } from '../internal/duration.js'
import { checkNames } from '../internal/known-names.js'
import { nodeName } from '../internal/node-name.js'
import { isRecord } from '../internal/option-kinds.js'
import { isResultTuple } from '../protocol/result.js'
import { decodeJson } from '../serializers/json.js'
import { StoredResult } from './async-result.js'
import type { Beat, BeatOptions } from './beat-handle.js'
import { BeatSide } from './beat-side.js'
import { appBrand } from './brand.js'
import { builtInTasks } from './built-in-tasks.js'
import type { ConfigInput } from './config.js'
import type { TaskContext } from './context.js'
import { Control } from './control.js'
import type { AppCore } from './core.js'
import { DeadLetterBox } from './dead-letters.js'
import { type EagerParts, runEagerly, runPlanEagerly } from './eager.js'
import { senderEvents } from './event-road.js'
import { handleOf } from './group-result.js'
import type { Middleware } from './hooks.js'
import { loadConfig } from './load-config.js'
import { makeCore } from './make-core.js'
import { Monitor, type MonitorOptions } from './monitor.js'
import type { OwnCommand, OwnCommandOptions } from './own-commands.js'
import { checkName } from './registry.js'
import { type RemoteTask, remoteTask, remoteTasks } from './remotes.js'
import { type ResultAccess, resultsOf } from './result-wait.js'
import type { Schedules } from './schedule-handle.js'
import { Sender } from './sender.js'
import { type Signals, signalNames } from './signals.js'
import type { Called, NamedTask, Task, TaskOptions } from './task.js'
import { defineTask, type TaskObject, type TaskShape, taskObject } from './task-object.js'
import { type Worker, WorkerHandle } from './worker-handle.js'
import { checkWorkerOptions, type WorkerOptions } from './worker-options.js'

type Fn<A extends unknown[], R> = (...args: A) => R | Promise<R>
type SchemaIn<S> = S extends StandardSchemaV1<infer I, unknown> ? I : never
type SchemaOut<S> = S extends StandardSchemaV1<unknown, infer O> ? O : never
type AsTuple<T> = T extends unknown[] ? T : never
type Simplify<T> = { [K in keyof T]: T[K] } & {}
type KwOf<N extends readonly string[], A extends readonly unknown[]> = Simplify<{
  [I in Extract<keyof A, `${number}`> as I extends keyof N ? N[I] & string : never]: A[I]
}>

/** Options of the app: every row of docs/config.md, by our names or Celery's. */
export type AppOptions = ConfigInput & {
  /** What beat sends, and when: entries by name. */
  beatSchedule?: BeatSchedule
  /** The same, as Celery spells it. */
  beat_schedule?: BeatSchedule
}

/**
 * The app: tasks, configuration and connections under one name. Nothing is opened until the first call.
 *
 * @example
 * const app = new Celeriac('hello')
 * export const add = app.task('add', (x: number, y: number) => x + y)
 * const five = await add.delay(2, 3).get()
 */
export class Celeriac implements AsyncDisposable {
  readonly [appBrand] = true
  readonly name: string
  /** Steers workers: revoke, purge. */
  readonly control: Control
  /** Messages that could not be run: listed, sent again, dropped. */
  readonly deadLetters: DeadLetterBox
  readonly #core: AppCore
  readonly #sender: Sender
  readonly #beats: BeatSide
  #senderEvents: EventDispatcher | undefined

  constructor(name: string, { beatSchedule, beat_schedule: celerysSchedule, ...options }: AppOptions = {}) {
    this.name = name
    this.#core = makeCore(name, loadConfig(options), () => (this.#senderEvents ??= senderEvents(this.#core)))
    this.control = new Control(this.#core)
    this.deadLetters = new DeadLetterBox(this.#core)
    const access = this.#access
    const eager = (): EagerParts => ({ core: this.#core, sender: this.#sender, access })
    this.#sender = new Sender(this.#core, access, {
      call: (call, id) => runEagerly(eager(), call, id),
      plan: (plan) => runPlanEagerly(eager(), plan),
    })
    for (const task of builtInTasks(this.#core, this.#sender)) this.#core.registry.addBuiltIn(task)
    this.#beats = new BeatSide(this.#core, this.#sender, { ...celerysSchedule, ...beatSchedule })
  }

  /** True for an app made by any copy of celeriac, also one that another loader brought in. */
  static isApp(value: unknown): value is Celeriac {
    return typeof value === 'object' && value !== null && appBrand in value
  }

  /** (a) One object with a schema for the keyword arguments: TypeScript's one-object payload is Celery's kwargs. */
  task<
    const Name extends string,
    // biome-ignore lint/suspicious/noExplicitAny: the schema's output may be anything; SchemaOut reads it
    S extends StandardSchemaV1<Record<string, unknown>, any>,
    R,
    const F extends readonly (keyof SchemaIn<S>)[] = [],
  >(
    name: Name,
    options: TaskOptions & { kwargs: S; params?: F },
    run: (input: SchemaOut<S>, ctx: TaskContext) => R | Promise<R>,
  ): NamedTask<SchemaIn<S>, R, F extends readonly [infer First extends keyof SchemaIn<S>, ...unknown[]] ? First : never> & Called<Name>
  /** (b) A schema for the positional arguments. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  task<const Name extends string, S extends StandardSchemaV1<any, any>, R>(
    name: Name,
    options: TaskOptions & { args: S },
    run: (...args: AsTuple<SchemaOut<S>>) => R | Promise<R>,
  ): Task<AsTuple<SchemaIn<S>>, R> & Called<Name>
  /** (c) Bound: the context comes first, as Celery's self. */
  task<const Name extends string, A extends unknown[], R, const N extends readonly string[] = []>(
    name: Name,
    options: TaskOptions & { bind: true; params?: N },
    run: (self: TaskContext, ...args: A) => R | Promise<R>,
  ): Task<A, R, N extends readonly [] ? never : KwOf<N, A>> & Called<Name>
  /** (d) Options and a plain function. */
  task<const Name extends string, A extends unknown[], R, const N extends readonly string[] = []>(
    name: Name,
    options: TaskOptions & { params?: N },
    run: Fn<A, R>,
  ): Task<A, R, N extends readonly [] ? never : KwOf<N, A>> & Called<Name>
  /** (e) A plain function. */
  task<const Name extends string, A extends unknown[], R>(name: Name, run: Fn<A, R>): Task<A, R> & Called<Name>
  task(
    name: string,
    optionsOrRun: (TaskOptions & TaskShape) | ((...args: never[]) => unknown),
    run?: (...args: never[]) => unknown,
  ): never {
    const [options, fn] = typeof optionsOrRun === 'function' ? [{}, optionsOrRun] : [optionsOrRun, run]
    const definition = defineTask(name, options, fn as (...args: never[]) => unknown) // defineTask refuses what is not a function
    this.#core.registry.add(definition)
    const shape = definition.kwargsSchema === undefined ? 'positional' : 'object'
    const task: TaskObject = taskObject({ name, sender: this.#sender, definition, shape, options: {} })
    // The overloads say what the one object behind them takes and gives.
    return task as never
  }

  /** A task that lives elsewhere (a Python worker): only its type is known here. */
  // biome-ignore lint/suspicious/noExplicitAny: any function type describes a task
  remote<F extends (...a: any[]) => unknown>(name: string): RemoteTask<F> {
    return remoteTask(this.#sender, name) as unknown as RemoteTask<F> // the type is the caller's claim about another program
  }

  /** A whole contract: an interface of names to functions, or `typeof tasks` of another package. */
  remotes<T>(): { [K in keyof T]: RemoteTask<T[K]> } {
    return remoteTasks(this.#sender) as unknown as { [K in keyof T]: RemoteTask<T[K]> } // as above
  }

  /** Untyped by name, as Celery's send_task. A task that is registered here lends its options. */
  sendTask<R = unknown>(
    name: string,
    call: { args?: unknown[]; kwargs?: Record<string, unknown> } = {},
    options: ApplyOptions = {},
  ): Enqueued<R> {
    checkNames(call, { args: true, kwargs: true })
    const { args = [], kwargs = {} } = call
    if (!Array.isArray(args)) throw new OptionInvalidError('args', 'a list', args)
    if (!isRecord(kwargs)) throw new OptionInvalidError('kwargs', 'an object', kwargs)
    return this.#sender.apply<R>({
      task: name,
      definition: this.#core.registry.get(name),
      args,
      kwargs,
      options,
    })
  }

  /** The handle of a task that was sent before, here or elsewhere. */
  result<R = unknown>(id: string): AsyncResult<R> {
    checkName('task id', id)
    return new StoredResult<R>(id, this.#access, { byId: true })
  }

  /** The handle that `asTuple()` wrote, here or in Python: a task with its parents, or a group with its members. Throws DecodeError for what is no such tuple. */
  resultFromTuple<R = unknown>(tuple: unknown): AsyncResult<R> {
    if (!isResultTuple(tuple)) throw new DecodeError(`expected a result tuple [[id, parent], members], got: ${show(tuple)}`)
    // What the tasks return is the caller's claim: they run elsewhere.
    return handleOf(this.#access, tuple) as AsyncResult<R>
  }

  /** The group whose handle was saved with `save()`, here or in Python; undefined when the result backend has none of that id. */
  async restoreGroup<R extends readonly unknown[] = unknown[]>(id: string): Promise<GroupResult<R> | undefined> {
    const tuple = await (await resultsOf(this.#access)).group(id)
    // A tuple with members is a group's; what they return is the caller's claim.
    return tuple === undefined || tuple[1] === null ? undefined : (handleOf(this.#access, tuple) as GroupResult<R>)
  }

  /** A signature from its JSON (the object, or its text), as `toJSON()` or Python wrote it. Throws InvalidMessageError for what is none, or is too large or too deep. */
  signature<R = unknown>(json: unknown): Sig<unknown, R, true> {
    // What it takes and gives is the caller's claim: only the task knows.
    return signatureFrom(typeof json === 'string' ? decodeJson(json) : json, this.#sender) as unknown as Sig<unknown, R, true>
  }

  /** Names of the tasks that are registered here. */
  get taskNames(): readonly string[] {
    return this.#core.registry.names()
  }

  /** Wraps the sending and running of tasks; the first one used is the outermost. */
  use(middleware: Middleware): this {
    if (typeof middleware.publish !== 'function' && typeof middleware.execute !== 'function')
      throw new OptionInvalidError('middleware', 'an object with a function publish or execute', middleware)
    this.#core.hooks.use(middleware)
    return this
  }

  /** Celery's signals. Nobody waits for a listener, and what it throws is logged. */
  on<E extends keyof Signals>(signal: E, listener: (event: Signals[E]) => void | Promise<void>): this {
    if (!Object.hasOwn(signalNames, signal)) throw new OptionUnknownError(signal, didYouMean(signal, Object.keys(signalNames)))
    if (typeof listener !== 'function') throw new OptionInvalidError(`the listener of ${signal}`, 'a function', listener)
    this.#core.hooks.on(signal, listener)
    return this
  }

  /** Listens no more. */
  off<E extends keyof Signals>(signal: E, listener: (event: Signals[E]) => void | Promise<void>): this {
    this.#core.hooks.off(signal, listener)
    return this
  }

  /**
   * Listens to what workers of both languages tell: `await using monitor = await app.monitor()`, then `monitor.state.workers()`, `monitor.state.tasks()`.
   * Task events come from workers that run with `-E`, or after `app.control.enableEvents()`.
   */
  monitor(options: MonitorOptions = {}): Promise<Monitor> {
    return new Monitor(this.#core, options).open()
  }

  /**
   * A command of remote control of the app's own, for its workers: `celeriac control <name>`, `app.control.broadcast(name)`, or Python's `app.control.broadcast`.
   * Throws AlreadyRegisteredError for a name that is taken.
   */
  controlCommand(name: string, run: OwnCommand['run'], options: OwnCommandOptions = {}): this {
    this.#core.commands.add(name, options, run)
    return this
  }

  /** A worker for this app. Nothing runs before `start()` or `run()`. */
  worker(options: WorkerOptions = {}): Worker {
    checkWorkerOptions(options)
    const hostname = nodeName(options.hostname)
    return new WorkerHandle(hostname, async () => {
      const { AppWorker } = await import('../worker/worker.js')
      return new AppWorker(this.#core, this.#sender, { ...options, hostname })
    })
  }

  /** Sends what is due. Any number may run, in any processes: one leads. */
  beat(options: BeatOptions = {}): Beat {
    return this.#beats.beat(options)
  }

  /** Schedules at run time: list, add, update, pause, resume, run, remove. */
  get schedule(): Schedules {
    return this.#beats.schedules
  }

  /** Celery's add_periodic_task: one entry of the program, as in `beatSchedule`; gives its name. Default name: the call as text, `add(1, 2)`. */
  addPeriodicTask(schedule: Schedule | Duration, task: BeatCall, options: EntryOptions & { name?: string } = {}): string {
    return this.#beats.add(schedule, task, options)
  }

  /** Closes the connections of this app in this process. A later call opens them again. Safe twice. */
  async close(): Promise<void> {
    // Without a promise where there is none to wait for: what is called in the same tick opens anew.
    if (this.#senderEvents !== undefined) await this.#senderEvents.flush()
    await this.#core.connections.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** For the packages' own parts (worker, cli, testing): not covered by the version promise. */
  static internals(app: Celeriac): { readonly core: AppCore; readonly sender: Sender } {
    return { core: app.#core, sender: app.#sender }
  }

  get #access(): ResultAccess {
    const core = this.#core
    const access: ResultAccess = {
      get connections() {
        return core.connections
      },
      get clock() {
        return core.clock
      },
      get expiresSeconds() {
        return core.config.resultExpires
      },
      revoke: (ids, options) => this.control.revoke([...ids], options),
      handle: (tuple, parent) => handleOf(access, tuple, { parent }),
    }
    return access
  }
}
