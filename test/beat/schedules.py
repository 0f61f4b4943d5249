"""What real Celery says: one JSON list of questions on stdin, one of answers on stdout. Times are ms since the epoch."""
import json
import sys
from datetime import datetime, timezone

from celery import Celery
from celery.schedules import crontab, schedule, solar
from celery.utils.time import remaining

apps = {}


def app(zone):
    if zone not in apps:
        apps[zone] = Celery(f'questions-{zone}', set_as_current=False)
        apps[zone].conf.timezone = zone
        apps[zone].conf.enable_utc = True
    return apps[zone]


def at(ms):
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc)


def ms(moment):
    return round(moment.astimezone(timezone.utc).timestamp() * 1000)


def fields(question):
    minute, hour, dom, moy, dow = question['expression'].split(' ')
    return crontab(minute, hour, dow, dom, moy, app=app(question['zone']))


def next_crontab(question):
    try:
        last, delta, _ = fields(question).remaining_delta(at(question['after']))
        return ms(last + delta)
    except Exception as error:
        return {'error': type(error).__name__}


def next_interval(question):
    zone = app(question['zone']).timezone
    entry = schedule(question['every'] / 1000, relative=True, app=app(question['zone']))
    last = at(question['after']).astimezone(zone)
    left = remaining(last, entry.run_every, last, relative=True)
    return ms(at(question['after']) + left)


def next_solar(question):
    entry = solar(question['event'], question['lat'], question['lon'], app=app('UTC'))
    entry.cal.date = at(question['after'])
    found = entry._next_event(entry.ephem.Date(at(question['after'])))
    return ms(found.datetime().replace(tzinfo=timezone.utc))


kinds = {'crontab': next_crontab, 'interval': next_interval, 'solar': next_solar}
json.dump([kinds[question['kind']](question) for question in json.load(sys.stdin)], sys.stdout)
