import { graphql, type ResultOf } from './graphql'

const image = graphql(`fragment image on Image { service image digest }`)

const common = graphql(
  `
    fragment common on Stack {
      name
      environment
      generation
      phase
      reason
      message
      updatedAt
      desired { ref revision images { ...image } }
      live { revision deploymentId images { ...image } }
      target { kind }
      suspension { reason actor until since }
      lastGood { deploymentId revision since images { ...image } }
    }
  `,
  [image],
)

/** What a row of the list shows: it comes for every stack, so it is kept short. */
export const stackRow = graphql(
  `
    fragment stackRow on Stack {
      ...common
      held { deploymentId }
      pin { actor until }
      deletion { since }
      drift { found }
      policy { onFailure monitor mode }
      conditions { type status since }
      attempt {
        deploymentId
        phase
        trigger
        actor
        createdAt
        finishedAt
        rollbackOf
        services { wanted healthy }
        progress { progressDeadline totalDeadline waitingSince healthySince applied }
      }
    }
  `,
  [common],
)

const attempt = graphql(
  `
    fragment attempt on Deployment {
      deploymentId
      stack
      environment
      generation
      trigger
      phase
      verdict
      reason
      message
      revision
      images { ...image }
      actor
      statedReason
      rollbackOf
      rolledBackBy
      versionOf
      plan
      createdAt
      finishedAt
      warnings
      services { service wanted healthy obstacle }
      failure { class service slot node task error exitCode logTail }
      progress { startedAt progressDeadline totalDeadline waitingSince healthySince applied appliedAt healthyMost }
    }
  `,
  [image],
)

export const stackPage = graphql(
  `
    fragment stackPage on Stack {
      ...common
      observedGeneration
      createdAt
      held { deploymentId revision reason since images { ...image } }
      pin { deploymentId versionOf actor reason until since }
      conditions { type status reason message since }
      drift { found corrections correctedAt }
      deletion { actor keepRunning since }
      deploymentId
      source { git ref path credential poll inline revision checkedAt error }
      compose
      compat
      variables { name value secret }
      stackImages: images { service version }
      policy {
        mode onFailure irreversible progressDeadline totalDeadline monitor drift prune images unsetVariables ignore allowRecreate
      }
      inventory { kind name }
      attempt { ...attempt }
    }
  `,
  [common, attempt, image],
)

export const FollowStacks = graphql(
  `
    subscription FollowStacks($after: Int) {
      stacksChanged(after: $after) {
        sequence
        snapshot { ...stackRow }
        stack { ...stackRow }
        deleted { name environment }
      }
    }
  `,
  [stackRow],
)

export const FollowStack = graphql(
  `
    subscription FollowStack($name: String!, $environment: String!, $after: Int) {
      stackChanged(name: $name, environment: $environment, after: $after) {
        sequence
        stack { ...stackPage }
      }
    }
  `,
  [stackPage],
)

export const FollowDeployment = graphql(
  `
    subscription FollowDeployment($id: ID!, $after: Int) {
      deploymentChanged(id: $id, after: $after) {
        sequence
        deployment { ...attempt originalRequest mappedRequest }
      }
    }
  `,
  [attempt],
)

export const FollowEvents = graphql(`
  subscription FollowEvents($stack: String, $environment: String, $after: Int, $last: Int!) {
    eventAdded(stack: $stack, environment: $environment, after: $after, last: $last) {
      sequence
      event { sequence time environment stack deploymentId type reason message actor }
    }
  }
`)

export const FollowLogs = graphql(`
  subscription FollowLogs($deployment: ID, $stack: String, $environment: String! = "default", $service: String) {
    logLines(deployment: $deployment, stack: $stack, environment: $environment, service: $service, tail: 500) {
      ended
      lines { time service slot node stream text }
    }
  }
`)

export const Tasks = graphql(`
  query Tasks($stack: String!, $environment: String!) {
    tasks(stack: $stack, environment: $environment) {
      taskId service slot node state desired current message exitCode createdAt since
    }
  }
`)

export const History = graphql(
  `
    query History($stack: String!, $environment: String!, $first: Int!, $after: String) {
      deployments(stack: $stack, environment: $environment, first: $first, after: $after) {
        edges { node { ...attempt } }
        pageInfo { hasNextPage endCursor }
      }
    }
  `,
  [attempt],
)

export const PlanOf = graphql(`
  query PlanOf($stack: String!, $environment: String!, $ref: String, $images: [ImageInput!]! = []) {
    plan(stack: $stack, environment: $environment, ref: $ref, images: $images) {
      digest unchanged waiting warnings
      steps { kind name action reason changes { path from to } }
    }
  }
`)

export const Environments = graphql(`
  query Environments {
    environments {
      name endpoints tls ssh connected since message engine api nodeCount
      claim { state instance epoch }
      nodes { hostname role leader availability state addr engine platform cpus memory labels { name value } }
    }
  }
`)

export const Credentials = graphql(`
  query Credentials {
    credentials { name type hosts keys createdAt updatedAt usedBy { kind name environment } }
  }
`)

export const TestCredential = graphql(`
  query TestCredential($name: String!, $url: String!) {
    credentialTest(name: $name, url: $url) { url head branches tags }
  }
`)

/** The cheapest question there is: whether the token opens the door. */
export const Knock = graphql(`query Knock { environments { name } }`)

export const Deploy = graphql(`
  mutation Deploy($input: DeployStackInput!) {
    payload: deployStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Rollback = graphql(`
  mutation Rollback($input: RollbackStackInput!) {
    payload: rollbackStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Unpin = graphql(`
  mutation Unpin($input: UnpinStackInput!) {
    payload: unpinStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const ReleaseHold = graphql(`
  mutation ReleaseHold($input: ReleaseHoldInput!) {
    payload: releaseHold(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Cancel = graphql(`
  mutation Cancel($input: CancelDeploymentInput!) {
    payload: cancelDeployment(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Approve = graphql(`
  mutation Approve($input: ApproveDeploymentInput!) {
    payload: approveDeployment(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Suspend = graphql(`
  mutation Suspend($input: SuspendStackInput!) {
    payload: suspendStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Resume = graphql(`
  mutation Resume($input: ResumeStackInput!) {
    payload: resumeStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Reconcile = graphql(`
  mutation Reconcile($input: ReconcileStackInput!) {
    payload: reconcileStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Delete = graphql(`
  mutation Delete($input: DeleteStackInput!) {
    payload: deleteStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
  }
`)
export const Declare = graphql(`
  mutation Declare($input: ApplyStackInput!) {
    payload: applyStack(input: $input) {
      stack { name environment }
      deployment { deploymentId }
      documents { kind name created changes }
      userErrors { code message field line column hint }
    }
  }
`)
export const Claim = graphql(`
  mutation Claim($input: ClaimEnvironmentInput!) {
    payload: claimEnvironment(input: $input) { environment { name } userErrors { code message field hint } }
  }
`)

export type Row = ResultOf<typeof stackRow>
export type StackDetail = ResultOf<typeof stackPage>
export type Attempt = ResultOf<typeof attempt>
export type Deployment = NonNullable<ResultOf<typeof FollowDeployment>['deploymentChanged']>['deployment']
export type EventLine = ResultOf<typeof FollowEvents>['eventAdded']['event']
export type LogLine = ResultOf<typeof FollowLogs>['logLines']['lines'][number]
export type Task = ResultOf<typeof Tasks>['tasks'][number]
export type Plan = ResultOf<typeof PlanOf>['plan']
export type EnvironmentDetail = ResultOf<typeof Environments>['environments'][number]
export type CredentialLine = ResultOf<typeof Credentials>['credentials'][number]
export type StackPhase = Row['phase']
export type Image = ResultOf<typeof image>
