import type { BeatCall, BeatEntry, BeatSchedule, EntryOptions, Schedule } from '../canvas/schedules.js'
import { Signature } from '../canvas/signature.js'
import { OptionInvalidError, ScheduleConflictError } from '../errors.js'
import type { Duration } from '../internal/duration.js'
import { checkNames } from '../internal/known-names.js'
import { repr, reprArgs } from '../protocol/repr.js'
import type { Beat, BeatOptions, BeatState } from './beat-handle.js'
import type { AppCore } from './core.js'
import type { Schedules } from './schedule-handle.js'
import type { Sender } from './sender.js'

/** What an app has of beat: the program's entries. The rest is loaded when it is used. */
export class BeatSide {
  readonly #core: AppCore
  readonly #sender: Sender
  readonly #entries: Map<string, BeatEntry>
  readonly schedules: Schedules

  constructor(core: AppCore, sender: Sender, schedule: BeatSchedule) {
    this.#core = core
    this.#sender = sender
    this.#entries = new Map(Object.entries(schedule))
    const loaded = async (): Promise<Schedules> => (await load()).makeSchedules(this.#parts)
    this.schedules = {
      list: async (options) => (await loaded()).list(options),
      get: async (name) => (await loaded()).get(name),
      add: async (name, entry) => (await loaded()).add(name, entry),
      update: async (name, changes) => (await loaded()).update(name, changes),
      pause: async (name) => (await loaded()).pause(name),
      resume: async (name) => (await loaded()).resume(name),
      run: async (name) => (await loaded()).run(name),
      remove: async (name) => (await loaded()).remove(name),
      next: async (name, count) => (await loaded()).next(name, count),
      history: async (name, options) => (await loaded()).history(name, options),
    }
  }

  beat(options: BeatOptions): Beat {
    checkNames(options, { scheduler: true, signal: true })
    return new BeatHandle(async () => (await load()).makeBeat(this.#parts, options))
  }

  add(schedule: Schedule | Duration, task: BeatCall, { name = nameOf(task), ...options }: EntryOptions & { name?: string }): string {
    if (this.#entries.has(name))
      throw new ScheduleConflictError(`there is a schedule entry ${JSON.stringify(name)} already: give this one another name`)
    this.#entries.set(name, { task, schedule, ...options })
    return name
  }

  get #parts() {
    return { core: this.#core, sender: this.#sender, entries: this.#entries }
  }
}

function load() {
  return import('../beat/open-beat.js')
}

/** As Celery names them: by the call. */
function nameOf(task: BeatCall): string {
  if (!(task instanceof Signature)) throw new OptionInvalidError('name', 'given, where the call is made when it is due', undefined)
  const { args, kwargs } = task.call
  const named = Object.keys(kwargs).length === 0 ? '' : `, **${repr(kwargs)}`
  return `${task.task}${reprArgs(args).replace(/,\)$/, ')').replace(/\)$/, `${named})`)}`.replace('(, ', '(')
}

/** A beat before its code is loaded. */
class BeatHandle implements Beat {
  readonly #load: () => Promise<Beat>
  #loading: Promise<Beat> | undefined
  #beat: Beat | undefined

  constructor(loadBeat: () => Promise<Beat>) {
    this.#load = loadBeat
  }

  get state(): BeatState {
    return this.#beat?.state ?? (this.#loading === undefined ? 'new' : 'starting')
  }

  get isLeading(): boolean {
    return this.#beat?.isLeading ?? false
  }

  async start(): Promise<this> {
    await (await this.#loaded()).start()
    return this
  }

  async run(): Promise<void> {
    await (await this.#loaded()).run()
  }

  async stop(): Promise<void> {
    if (this.#loading !== undefined) await (await this.#loading).stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #loaded(): Promise<Beat> {
    this.#loading ??= this.#load().then((beat) => {
      this.#beat = beat
      return beat
    })
    return this.#loading
  }
}
