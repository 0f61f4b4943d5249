/** What the file of the embedded broker lies on. */

import { statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Examination, ServerFinding } from '../../internal/examination.js'
import { networkFileSystemOf } from '../../internal/sqlite/file-safety.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'

/** Below this a queue may soon take nothing more. */
const littleSpace = 256 * 1024 ** 2

export function examineFile({ path, synchronous }: SqliteLocation, engineVersion: string): Examination {
  return { server: `SQLite ${engineVersion}`, findings: [space(path), network(path), durability(synchronous)], clockAheadMs: undefined }
}

function space(path: string): ServerFinding {
  const { bavail, bsize } = statfsSync(dirname(path))
  const free = bavail * bsize
  const evidence = `${path} has ${megabytes(sizeOf(path) + sizeOf(`${path}-wal`))}; ${megabytes(free)} of its disk are free`
  return free >= littleSpace
    ? { about: 'disk space', level: 'fine', evidence }
    : {
        about: 'disk space',
        level: 'warning',
        evidence,
        fix: 'Make room: without it no task is taken, and those that run cannot be settled',
      }
}

function network(path: string): ServerFinding {
  const name = networkFileSystemOf(dirname(path))
  if (name === undefined) return { about: 'file system', level: 'fine', evidence: 'a local disk, and a file that only its owner may write' }
  return {
    about: 'file system',
    level: 'fault',
    evidence: `${path} is on a network file system (${name}), where its locks do not hold between hosts`,
    fix: 'Move it to a local disk, or use Redis or RabbitMQ for more than one host',
  }
}

function durability(synchronous: SqliteLocation['synchronous']): ServerFinding {
  const evidence =
    synchronous === 'full'
      ? 'synchronous=full: what was confirmed survives a power cut'
      : 'synchronous=normal: what was confirmed survives every crash of processes; the last moment before a power cut may be lost'
  return { about: 'persistence', level: 'fine', evidence }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

const megabytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(bytes < 10 * 1024 ** 2 ? 1 : 0)} MB`
