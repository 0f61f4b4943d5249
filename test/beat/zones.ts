/** Time zones whose clocks were changed in the last ten years, or are strange otherwise. */
import type { TimeZone } from '../../dist/internal/time-zone.js'

export const zones = [
  'Africa/Cairo',
  'Africa/Casablanca',
  'Africa/Johannesburg',
  'America/Asuncion',
  'America/Chicago',
  'America/Denver',
  'America/Havana',
  'America/Los_Angeles',
  'America/Mexico_City',
  'America/New_York',
  'America/Nuuk',
  'America/Santiago',
  'America/Sao_Paulo',
  'America/St_Johns',
  'Antarctica/Troll',
  'Asia/Amman',
  'Asia/Beirut',
  'Asia/Jerusalem',
  'Asia/Kathmandu',
  'Asia/Kolkata',
  'Asia/Tehran',
  'Asia/Tokyo',
  'Atlantic/Azores',
  'Australia/Adelaide',
  'Australia/Lord_Howe',
  'Australia/Sydney',
  'Europe/Berlin',
  'Europe/Dublin',
  'Europe/London',
  'Pacific/Auckland',
  'Pacific/Chatham',
  'Pacific/Easter',
] as const

const yearsMs = [Date.UTC(2015, 0, 1), Date.UTC(2025, 0, 1)] as const

/** Every change of the clocks of a zone in ten years. */
export function changesOf(zone: TimeZone): readonly number[] {
  const changes: number[] = []
  let change = zone.changeAfter(yearsMs[0], yearsMs[1])
  while (change !== undefined) {
    changes.push(change)
    change = zone.changeAfter(change, yearsMs[1])
  }
  return changes
}
