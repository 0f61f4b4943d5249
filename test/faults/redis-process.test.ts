/** Processes and results over Redis (reliability.md B.1, B.8, B.14, B.15). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openBackend } from '../../dist/backends/index.js'
import { Celeriac } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { until, within } from '../conformance/wait.js'
import { nowMs } from '../harness/recorder.js'
import { redisTest } from '../harness/redis-fault-test.js'
import { crashRows } from './crash-rows.js'
import { processRows } from './process-rows.js'
import { resultRaceRow } from './result-race.js'

const oneSecond = 1_000

processRows(redisTest)
crashRows(redisTest)
