import { bool, listOf, nullable, oneOf, secondsAbove0, text } from '../internal/option-kinds.js'
import { listenAddress, name } from './config-kinds.js'
import { row } from './config-row.js'

/** Rows of the table: what others see of workers, and how they steer them. */
export const eventRows = {
  workerSendTaskEvents: row('Events and remote control', bool, false, {
    sentence: 'Tell monitors what happens to tasks, from the start on; `enable_events` of remote control turns it on later.',
    flag: '-E, --task-events',
  }),
  taskSendSentEvent: row('Events and remote control', bool, false, {
    sentence: 'Tell monitors of each task that is sent (`task-sent`).',
  }),
  workerHeartbeatInterval: row('Events and remote control', secondsAbove0, 2, {
    sentence: 'How often a worker tells monitors and other workers that it is there.',
    own: true,
    flag: '--heartbeat-interval <duration>',
  }),
  eventExchange: row('Events and remote control', name, 'celeryev', {
    sentence: 'The exchange that events go through; monitors and workers must agree on it.',
  }),
  controlExchange: row('Events and remote control', name, 'celery', {
    sentence:
      'The namespace of remote control: requests go through `<namespace>.pidbox`. Workers and those who steer them must agree on it.',
  }),
  eventQueueTtl: row('Events and remote control', nullable(secondsAbove0), 5, {
    sentence: 'How long events are kept for a monitor that does not read them, on brokers that keep them (not Redis); null is for ever.',
  }),
  eventQueueExpires: row('Events and remote control', nullable(secondsAbove0), 60, {
    sentence: 'How long the queue of a monitor that is gone is kept, on brokers that do not see it go; null is for ever.',
  }),
  openTelemetry: row('Events and remote control', bool, true, {
    sentence:
      'Make traces and metrics by OpenTelemetry, where the package `@opentelemetry/api` is installed; see [traces](guide/monitoring.md#traces).',
    own: true,
  }),
  openTelemetryConventions: row('Events and remote control', oneOf('python', 'messaging', 'messaging/dup'), 'python', {
    sentence:
      "What spans are called and which attributes they have: as Python's instrumentation has it, as OpenTelemetry's conventions for messaging do, or those names with the attributes of both. Also set by OpenTelemetry's own `OTEL_SEMCONV_STABILITY_OPT_IN`.",
    own: true,
  }),
  workerMetricsPort: row('Events and remote control', nullable(listenAddress), null, {
    sentence:
      'Answer `GET /metrics` with the metrics of the worker, for Prometheus: a port of this machine alone, or `host:port`. Needs `prom-client`; see [metrics](guide/monitoring.md#metrics-for-prometheus).',
    own: true,
    flag: '--metrics-port <port>',
  }),
  flowerCompat: row('Events and remote control', bool, false, {
    sentence: 'Give the metrics for Prometheus under the names of Flower, too.',
    own: true,
    flag: '--flower-compat',
  }),
  workerEnableRemoteControl: row('Events and remote control', bool, true, {
    sentence: 'A worker takes requests of `inspect` and `control`.',
  }),
  workerControlAllow: row('Events and remote control', nullable(listOf('names of commands', text)), null, {
    sentence:
      'The commands of remote control that a worker obeys, by their names; `inspect` stands for all that only look. Others are answered with an error. null: all of them.',
    own: true,
  }),
}
