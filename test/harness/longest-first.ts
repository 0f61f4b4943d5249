/**
 * The order of test files: the longest first, so that no worker is left alone with one of them in the end, and those of one process last. Vitest's own order needs
 * a cache of the last run.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Those that take more than about ten seconds, and of the rest those with processes. Whatever is missing here runs after them: that is only slower. */
const longest = [
  'faults/amqp-server',
  'faults/redis-process',
  'faults/process',
  'faults/results',
  'transports/amqp',
  'faults/redis-server',
  'faults/amqp-network',
  'faults/redis-network',
  'faults/messages',
  'faults/beat',
  'transports/amqp/delays',
  'interop/rabbit-quorum',
  'faults/amqp-process',
  'pools/processes.faults',
  'interop/inspect',
  'faults/redis-canvas',
  'faults/canvas',
  'backends/rpc',
  'faults/redis-messages',
  'faults/crash-matrix',
  'faults/embedded',
  'interop/shared-queue',
  'interop/rabbit-shared-queue',
  'interop/visibility',
  'cli/',
  'interop/',
  'faults/',
  'api/',
  'examples/',
  'backends/redis',
  'beat/crontab-python',
  'package',
  'pools/',
  'worker/signals',
  'transports/',
  'worker/prefork',
  'internal/amqp',
  'canvas/random',
  'beat/',
]

const rank = ({ moduleId, project }: TestSpecification): number => {
  if (project.name === 'together') return longest.length + 1
  const name = moduleId.replace(/^.*\/test\//, '').replace(/\.test\.ts$/, '')
  const isNamed = (of: string): boolean => (of.endsWith('/') ? name.startsWith(of) : name === of)
  const found = longest.findIndex(isNamed)
  return found === -1 ? longest.length : found
}

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return [...files].sort((a, b) => rank(a) - rank(b) || a.moduleId.localeCompare(b.moduleId))
  }
}
