// @ts-check
// The floors that the project holds, by the numbers of its performance goals. `of` divides by another variant's number of the same round.

/** @typedef {{ goal: string, says: string, row: string, variant: string, metric: string, of?: string, least?: number, most?: number }} Floor */

/** @type {readonly Floor[]} */
export const floors = [
  { goal: 'G7', says: 'SQLite NORMAL x BullMQ', row: 'end-to-end', variant: 'normal', metric: 'perSecond', of: 'bullmq50', least: 1.2 },
  { goal: 'G7', says: 'SQLite FULL x BullMQ', row: 'end-to-end', variant: 'full', metric: 'perSecond', of: 'bullmq50', least: 1 },
  { goal: 'G8', says: 'two workers, FULL: least/most share', row: 'fairness', variant: 'full', metric: 'share', least: 0.5 },
  { goal: 'G8', says: 'two workers, FULL: worst wait, ms', row: 'fairness', variant: 'full', metric: 'worstMs', most: 250 },
  { goal: 'G13', says: 'CPU a no-op, of BullMQ', row: 'end-to-end', variant: 'normal', metric: 'cpuMicros', of: 'bullmq50', most: 0.6 },
  { goal: 'G13', says: 'CPU a no-op, of Celery', row: 'end-to-end', variant: 'normal', metric: 'cpuMicros', of: 'celery', most: 0.04 },
  {
    goal: 'G14',
    says: '5 ms CPU, prefork 2 x Celery',
    row: 'cpu',
    variant: 'preforkNormal',
    metric: 'perSecond',
    of: 'celery',
    least: 1.15,
  },
  {
    goal: 'G14',
    says: '5 ms CPU, of two plain loops',
    row: 'cpu',
    variant: 'preforkNormal',
    metric: 'perSecond',
    of: 'plain',
    least: 0.75,
  },
  { goal: 'G15', says: '10 ms async, of ideal', row: 'sleep', variant: 'normal', metric: 'ofIdeal', least: 0.7 },
  { goal: 'G15', says: '10 ms async x BullMQ c100', row: 'sleep', variant: 'normal', metric: 'perSecond', of: 'bullmq100', least: 1.05 },
  { goal: 'G16', says: 'latency p50 in-process, of Celery', row: 'latency', variant: 'normal', metric: 'p50Ms', of: 'celery', most: 0.5 },
  {
    goal: 'G16',
    says: 'latency p50 prefork, of Celery',
    row: 'latency',
    variant: 'preforkNormal',
    metric: 'p50Ms',
    of: 'celery',
    most: 0.65,
  },
  { goal: 'G17', says: 'idle RSS in-process, of Celery', row: 'start', variant: 'normal', metric: 'rssMb', of: 'celery', most: 0.6 },
  { goal: 'G17', says: 'idle RSS prefork, of Celery', row: 'start', variant: 'preforkNormal', metric: 'rssMb', of: 'celery', most: 1.3 },
  { goal: 'G17', says: 'idle PSS prefork, of Celery', row: 'start', variant: 'preforkNormal', metric: 'pssMb', of: 'celery', most: 1 },
  { goal: 'G18', says: 'start-up in-process, of Celery', row: 'start', variant: 'normal', metric: 'startMs', of: 'celery', most: 0.2 },
  { goal: 'G18', says: 'start-up prefork, of Celery', row: 'start', variant: 'preforkNormal', metric: 'startMs', of: 'celery', most: 0.3 },
  { goal: 'G18', says: 'start-up in-process, of BullMQ c1', row: 'start', variant: 'normal', metric: 'startMs', of: 'bullmq1', most: 1.2 },
]
