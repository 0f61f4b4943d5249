/** Celery's `-s` of beat and of `worker -B`: the file that beat remembers in. */
import type { Command } from 'commander'
import { setInEnvironment } from '../app/load-config.js'
import { UsageError } from './usage-error.js'

export function addScheduleFlag(command: Command): void {
  command.option('-s, --schedule <path>', 'the file in which beat keeps its schedule, as Celery has it: short for --store file://<path>')
}

/** Before the app is loaded. Throws UsageError. */
export function applyScheduleFlag({ schedule, store }: { readonly schedule?: string; readonly store?: string }): void {
  if (schedule === undefined) return
  if (store !== undefined) throw new UsageError('--schedule and --store say both where the schedule is: give one of them')
  setInEnvironment({ beatStore: `file://${encodeURI(schedule).replaceAll(/[?#]/g, encodeURIComponent)}` })
}
