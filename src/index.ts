/** The face of celeriac: the app, the canvas, errors and types. Workers, drivers and the command line are loaded when they are used. */
export { type AppOptions, Celeriac } from './app/app.js'
export { type ConfigInput, celeryDefaults } from './app/config.js'
export { currentTask, type RequestInfo, type RetryOptions, type TaskContext } from './app/context.js'
export type { Middleware, Signals } from './app/hooks.js'
export type { RemoteTask, TasksOf } from './app/remotes.js'
export type { Called, ErrorClass, NamedTask, Task, TaskOptions } from './app/task.js'
export type { StopOptions, Worker, WorkerOptions, WorkerState } from './app/worker-handle.js'
export { at } from './beat/at.js'
export { crontab } from './beat/crontab.js'
export { every } from './beat/interval.js'
export { solar } from './beat/solar.js'
export { chain, chord, group } from './canvas/compose.js'
export type { AsyncResult, Enqueued, GetOptions } from './canvas/handles.js'
export type {
  BeatEntry,
  BeatSchedule,
  CrontabField,
  CrontabFields,
  CrontabOptions,
  DueInfo,
  EntryOptions,
  Misfire,
  Overlap,
  OwnSchedule,
  Schedule,
  SolarEvent,
} from './canvas/schedules.js'
export type { ApplyOptions, PublishRetryPolicy, Sig } from './canvas/sig.js'

export { createClient } from './client.js'
export * from './errors.js'
export type { Duration } from './internal/duration.js'
export type { Logger } from './internal/logger.js'
export { type TestApp, testApp } from './testing/index.js'
