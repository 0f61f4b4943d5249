// @ts-check
// The floors that the project holds, by the numbers of its performance goals. `of` divides by another variant's number of the same round.

/** @typedef {{ goal: string, says: string, row: string, variant: string, metric: string, of?: string, least?: number, most?: number }} Floor */

/** @type {readonly Floor[]} */
export const floors = [
  ...endToEnd('redis', 'perSecond', [
    { goal: 'G1', says: 'Redis, async x Celery', of: 'celery', least: 20 },
    { goal: 'G2', says: 'Redis, async x BullMQ c50', of: 'bullmq50', least: 1.4 },
    { goal: 'G2', says: 'Redis, async x BullMQ c100', of: 'bullmq100', least: 1.4 },
    { goal: 'G2', says: 'Redis, async x bee-queue c50', of: 'bee50', least: 1 },
    { goal: 'G3', says: 'Redis, async, of the raw loop', of: 'raw', least: 0.3 },
  ]),
  ...endToEnd('preforkRedis', 'perSecond', [{ goal: 'G4', says: 'Redis, prefork 2 x Celery', of: 'celery', least: 12 }]),
  ...endToEnd('preforkRedisOne', 'perSecond', [{ goal: 'G4', says: 'Redis, prefork 2, strictly one x Celery', of: 'celery', least: 5 }]),
  ...onRabbit('rabbit', 'rabbit', [{ goal: 'G5', says: 'RabbitMQ, results in Redis, async x Celery', of: 'celeryRabbit', least: 7 }]),
  ...onRabbit('rabbit', 'rabbitIgnored', [
    { goal: 'G5', says: 'RabbitMQ, no results, async x Celery', of: 'celeryRabbitIgnored', least: 4.5 },
    { goal: 'G6', says: 'RabbitMQ, no results, async, of the raw loop', of: 'rawRabbit', least: 0.55 },
  ]),
  ...onRabbit('rabbit-enqueue', 'rabbit concurrent', [
    { goal: 'G12', says: 'RabbitMQ, sending 100 concurrent, confirmed, x Celery unconfirmed', of: 'celeryRabbit awaited', least: 2 },
  ]),
  ...onRabbit('rabbit-enqueue', 'rabbitUnconfirmed concurrent', [
    { goal: 'G12', says: 'RabbitMQ, sending 100 concurrent, unconfirmed, x Celery', of: 'celeryRabbit awaited', least: 2.3 },
  ]),
  ...endToEnd('normal', 'perSecond', [{ goal: 'G7', says: 'SQLite NORMAL x BullMQ', of: 'bullmq50', least: 1.2 }]),
  ...endToEnd('full', 'perSecond', [{ goal: 'G7', says: 'SQLite FULL x BullMQ', of: 'bullmq50', least: 1 }]),
  { goal: 'G8', says: 'two workers, FULL: least/most share', row: 'fairness', variant: 'full', metric: 'share', least: 0.5 },
  { goal: 'G8', says: 'two workers, FULL: worst wait, ms', row: 'fairness', variant: 'full', metric: 'worstMs', most: 250 },
  ...sending('awaited', [
    { goal: 'G10', says: 'Redis, sending awaited x Celery', of: 'celery awaited', least: 3 },
    { goal: 'G10', says: 'Redis, sending awaited x BullMQ', of: 'bullmq50 awaited', least: 0.9 },
  ]),
  ...sending('concurrent', [
    { goal: 'G11', says: 'Redis, sending 100 concurrent x Celery', of: 'celery awaited', least: 30 },
    { goal: 'G11', says: 'Redis, sending 100 concurrent x addBulk', of: 'bullmq50 bulk', least: 2.5 },
  ]),
  ...onEachBroker({ name: 'Redis', async: 'redis', prefork: 'preforkRedis', latencyMost: 0.6 }),
  {
    goal: 'G16',
    says: 'Redis: latency p50 async, of BullMQ c1',
    row: 'latency',
    variant: 'redis',
    metric: 'p50Ms',
    of: 'bullmq1',
    most: 1,
  },
  ...onEachBroker({ name: 'SQLite', async: 'normal', prefork: 'preforkNormal', latencyMost: 0.5 }),
  // As time: a twentieth of Celery's.
  {
    goal: 'G19',
    says: 'chord of 1,000, of the time of Celery',
    row: 'chord',
    variant: 'redis',
    metric: 'chordMs',
    of: 'celery',
    most: 0.05,
  },
  {
    goal: 'G19',
    says: 'chord of 1,000, of the time of a BullMQ flow',
    row: 'chord',
    variant: 'redis',
    metric: 'chordMs',
    of: 'bullmq50',
    most: 0.67,
  },
  { goal: 'G20', says: 'taking tasks for later over x Celery', row: 'eta', variant: 'redis', metric: 'perSecond', of: 'celery', least: 15 },
  { goal: 'G20', says: 'memory of a task for later, bytes', row: 'eta', variant: 'redis', metric: 'bytesATask', most: 1024 },
  { goal: 'G20', says: 'lateness p50, of Celery', row: 'late', variant: 'redis', metric: 'p50Ms', of: 'celery', most: 2 },
  { goal: 'beat', says: 'a beat of 10,000 entries that wait, CPU %', row: 'beat-idle', variant: 'many', metric: 'cpuPercent', most: 1 },
  {
    goal: 'beat',
    says: 'the same, of a beat of none',
    row: 'beat-idle',
    variant: 'many',
    metric: 'cpuPercent',
    of: 'none',
    most: 3,
  },
  { goal: 'G20', says: 'lateness p50, ms', row: 'late', variant: 'redis', metric: 'p50Ms', most: 5 },
]

/** @typedef {Pick<Floor, 'goal' | 'says' | 'of' | 'least' | 'most'>} Bound */

/** @param {string} variant @param {string} metric @param {readonly Bound[]} bounds @returns {readonly Floor[]} */
function endToEnd(variant, metric, bounds) {
  return bounds.map((bound) => ({ ...bound, row: 'end-to-end', variant, metric }))
}

/** @param {string} row @param {string} variant @param {readonly Bound[]} bounds @returns {readonly Floor[]} */
function onRabbit(row, variant, bounds) {
  return bounds.map((bound) => ({ ...bound, row, variant, metric: 'perSecond' }))
}

/** @param {'awaited' | 'concurrent'} how @param {readonly Bound[]} bounds @returns {readonly Floor[]} */
function sending(how, bounds) {
  return bounds.map((bound) => ({ ...bound, row: 'enqueue', variant: `redis ${how}`, metric: 'perSecond' }))
}

/** What holds whatever the broker is. @param {{ name: string, async: string, prefork: string, latencyMost: number }} broker @returns {readonly Floor[]} */
function onEachBroker({ name, async, prefork, latencyMost }) {
  /** @type {readonly Floor[]} */
  const floors = [
    ...endToEnd(async, 'cpuMicros', [
      { goal: 'G13', says: 'CPU a no-op, of BullMQ', of: 'bullmq50', most: 0.6 },
      { goal: 'G13', says: 'CPU a no-op, of Celery', of: 'celery', most: 0.04 },
    ]),
    { goal: 'G14', says: '5 ms CPU, prefork 2 x Celery', row: 'cpu', variant: prefork, metric: 'perSecond', of: 'celery', least: 1.15 },
    { goal: 'G14', says: '5 ms CPU, of two plain loops', row: 'cpu', variant: prefork, metric: 'perSecond', of: 'plain', least: 0.75 },
    { goal: 'G15', says: '10 ms async, of ideal', row: 'sleep', variant: async, metric: 'ofIdeal', least: 0.7 },
    { goal: 'G15', says: '10 ms async x BullMQ c100', row: 'sleep', variant: async, metric: 'perSecond', of: 'bullmq100', least: 1.05 },
    { goal: 'G16', says: 'latency p50 async, of Celery', row: 'latency', variant: async, metric: 'p50Ms', of: 'celery', most: latencyMost },
    { goal: 'G16', says: 'latency p50 prefork, of Celery', row: 'latency', variant: prefork, metric: 'p50Ms', of: 'celery', most: 0.65 },
    { goal: 'G17', says: 'idle RSS async, of Celery', row: 'start', variant: async, metric: 'rssMb', of: 'celery', most: 0.6 },
    { goal: 'G17', says: 'idle RSS prefork, of Celery', row: 'start', variant: prefork, metric: 'rssMb', of: 'celery', most: 1.3 },
    { goal: 'G17', says: 'idle PSS prefork, of Celery', row: 'start', variant: prefork, metric: 'pssMb', of: 'celery', most: 1 },
    { goal: 'G18', says: 'start-up async, of Celery', row: 'start', variant: async, metric: 'startMs', of: 'celery', most: 0.2 },
    { goal: 'G18', says: 'start-up prefork, of Celery', row: 'start', variant: prefork, metric: 'startMs', of: 'celery', most: 0.3 },
    { goal: 'G18', says: 'start-up async, of BullMQ c1', row: 'start', variant: async, metric: 'startMs', of: 'bullmq1', most: 1.2 },
  ]
  return floors.map((floor) => ({ ...floor, says: `${name}: ${floor.says}` }))
}
