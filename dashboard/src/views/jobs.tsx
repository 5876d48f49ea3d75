import { now } from '../live/now'
import { JOB_LOOKS, jobTime, type Job } from '../model/jobs'
import { took, until } from '../model/time'
import { Said } from '../ui/bits'
import { Icon } from '../ui/icons'

/** The runs of a deployment's jobs: how each stands, how long it took, and what it said. */
export function Jobs({ jobs }: { jobs: readonly Job[] }) {
  if (jobs.length === 0) return null
  return (
    <ul class="jobs" aria-label="Jobs">
      {jobs.map((job) => (
        <JobRow key={`${job.service}/${job.when}/${job.direction}/${job.startedAt}`} job={job} />
      ))}
    </ul>
  )
}

function JobRow({ job }: { job: Job }) {
  const look = JOB_LOOKS[job.phase]
  const left = job.finishedAt ? null : until(job.deadline, now.value)
  return (
    <li class="job" data-job={job.service}>
      <span class={`phase tone-${look.tone}`} data-phase={job.phase}>
        <Icon name={look.icon} size={14} />
        <span>{look.word}</span>
      </span>
      <span>
        <b>{job.service}</b> <span class="faint">job, {jobTime(job.when, job.direction)}</span>
      </span>
      <span class="faint">
        {job.finishedAt ? 'took' : 'for'} {took(job.startedAt, job.finishedAt, now.value)}
        {left && `, ${left} left`}
        {job.exitCode !== null && `, exit code ${job.exitCode}`}
      </span>
      {job.error && (
        <span class="job-said">
          <Said text={job.error} />
        </span>
      )}
      {job.logTail.length > 0 && (
        <details class="job-said" open={job.phase === 'Failed'}>
          <summary>Its last lines</summary>
          <pre class="block log" tabIndex={0}>
            {job.logTail.join('\n')}
          </pre>
        </details>
      )}
    </li>
  )
}
