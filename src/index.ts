/** The face of celeriac: the app, the canvas, errors and types. Workers, drivers and the command line are loaded when they are used. */
export { type AppOptions, Celeriac } from './app/app.js'
export type { Beat, BeatOptions, BeatState } from './app/beat-handle.js'
export { type ConfigInput, celeryDefaults } from './app/config.js'
export { currentTask, type RequestInfo, type RetryOptions, type TaskContext } from './app/context.js'
export type { BroadcastOptions, CommandOutcome, Control } from './app/control.js'
export type { Middleware } from './app/hooks.js'
export type { Inspect, Replies, TaskInfo } from './app/inspect.js'
export type { Monitor, MonitorOptions } from './app/monitor.js'
export type { OwnCommand, OwnCommandOptions } from './app/own-commands.js'
export type { RemoteTask, TasksOf } from './app/remotes.js'
export type { ScheduleInfo, ScheduleRun, Schedules } from './app/schedule-handle.js'
export type { PublishedTask, ReceivedRequest, Signals } from './app/signals.js'
export type { Called, ErrorClass, NamedTask, Task, TaskOptions } from './app/task.js'
export type { Worker, WorkerState } from './app/worker-handle.js'
export type { StopOptions, WorkerOptions } from './app/worker-options.js'
export { at } from './beat/at.js'
export { crontab } from './beat/crontab.js'
export { every } from './beat/interval.js'
export { solar } from './beat/solar.js'
export { chain, chord, group } from './canvas/compose.js'
export type { AsyncResult, EndedMember, Enqueued, EnqueuedGroup, GetOptions, GroupResult, ResultDetails } from './canvas/handles.js'
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
export type { ApplyOptions, GroupSig, PublishRetryPolicy, Sig } from './canvas/sig.js'
export type { Stamped, StampingVisitor, StampOptions, Stamps } from './canvas/stamping.js'

export { createClient } from './client.js'
export * from './errors.js'
export { ClusterState, type ClusterStateOptions, type TaskState, type TaskView, type WorkerView } from './events/cluster-state.js'
export type { Duration } from './internal/duration.js'
export type { Logger } from './internal/logger.js'
export type { ClusterEvent } from './protocol/events.js'
export { type TestApp, testApp } from './testing/index.js'
