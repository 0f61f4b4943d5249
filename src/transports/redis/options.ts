/** What a Redis broker can be told, by `brokerTransportOptions`. Names and defaults are kombu's where kombu has them. */
export interface RedisBrokerOptions {
  /** Put in front of every key and channel, as it is. */
  readonly globalKeyprefix: string
  /** After how long a Python worker's unacknowledged message counts as lost: what the Python peers have. */
  readonly visibilityTimeoutMs: number
  /** Where the lists of one queue begin, lowest number first; 0 is the queue's own name. */
  readonly prioritySteps: readonly number[]
  /** Between the name of a queue and the step of its list, and in bindings. */
  readonly sep: string
  readonly unackedKey: string
  readonly unackedIndexKey: string
  /** Before the exchange in channel names; `{db}` is the number of the database. Empty: none. */
  readonly fanoutPrefix: string
  /** Whether channel names end in the routing key. */
  readonly fanoutPatterns: boolean
  /** A worker that did not refresh its lease for this long has lost its deliveries. */
  readonly leaseTtlMs: number
  /** How often a worker looks for lost leases. */
  readonly sweepIntervalMs: number
  /** A publish is confirmed when so many replicas have it. */
  readonly waitReplicas: number
  /** A message whose worker was lost this often goes to the dead letters: the last net, above `taskDeliveryLimit`. */
  readonly deliveryLimit: number
  /** Whether a server that may throw queues away when its memory is full is refused. */
  readonly evictionPolicy: 'refuse' | 'allow'
}

export const defaultRedisBrokerOptions: RedisBrokerOptions = {
  globalKeyprefix: '',
  visibilityTimeoutMs: 3_600_000,
  prioritySteps: [0, 3, 6, 9],
  sep: '\x06\x16',
  unackedKey: 'unacked',
  unackedIndexKey: 'unacked_index',
  fanoutPrefix: '/{db}.',
  fanoutPatterns: true,
  leaseTtlMs: 30_000,
  sweepIntervalMs: 5_000,
  waitReplicas: 0,
  deliveryLimit: 20,
  evictionPolicy: 'refuse',
}
