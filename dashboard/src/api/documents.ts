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
      next { text at }
      conditions { type status reason since }
      attempt {
        deploymentId
        phase
        trigger
        actor
        createdAt
        finishedAt
        rollbackOf
        revision
        services { wanted healthy }
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
      services { service wanted healthy obstacle waitsFor }
      jobs { service when direction phase startedAt deadline finishedAt error exitCode logTail }
      failure { class service slot node task error exitCode logTail healthLog }
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
      next { text at }
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
        mode onFailure irreversible progressDeadline totalDeadline monitor bake drift prune images unsetVariables ignore report allowRecreate
        schedule { zone windows { days from to } freezes { from to reason } }
      }
      dependsOn { environment stack images { service version } }
      followedImages { service rule wanted poll repository tag digest skipped checkedAt nextLook error }
      catalog { name file }
      inventory { kind name }
      attempt { ...attempt }
    }
  `,
  [common, attempt, image],
)

/** A page of the list, in order, filtered and counted by the server: the whole of it first, then what is different. */
export const FollowPage = graphql(
  `
    subscription FollowPage(
      $first: Int!, $after: String, $before: String, $environment: String, $phases: [StackPhase!], $text: String,
      $order: StackOrder!
    ) {
      stackPageChanged(
        first: $first, after: $after, before: $before, environment: $environment, phases: $phases, text: $text,
        order: $order
      ) {
        sequence
        total
        offset
        phases { phase count }
        environments
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        order { name environment }
        stacks { ...stackRow }
      }
    }
  `,
  [stackRow],
)

/** How many there are of each phase: what stands in the tab's title, whichever view is open. */
export const FollowCounts = graphql(`
  subscription FollowCounts {
    stackPageChanged(first: 1) { sequence phases { phase count } environments }
  }
`)

/** Names that a stack may be found by while one types. */
export const StackNames = graphql(`
  query StackNames($text: String!) {
    stacks(first: 20, text: $text, order: Name) { edges { node { name environment } } }
  }
`)

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
  subscription FollowEvents($stack: String, $environment: String, $deployment: ID, $after: Int, $last: Int!) {
    eventAdded(stack: $stack, environment: $environment, deployment: $deployment, after: $after, last: $last) {
      sequence
      event { sequence time environment stack deploymentId type reason message actor via }
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

export const OlderEvents = graphql(`
  query OlderEvents($stack: String, $environment: String, $before: String) {
    events(first: 200, backwards: true, after: $before, stack: $stack, environment: $environment) {
      edges { node { sequence time environment stack deploymentId type reason message actor via } }
      pageInfo { hasNextPage endCursor }
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
      steps { kind name action reason waitsFor changes { path from to } }
      jobs { name when waitsFor }
    }
  }
`)

export const RenderingOf = graphql(`
  query RenderingOf($stack: String!, $environment: String!, $ref: String) {
    rendering(stack: $stack, environment: $environment, ref: $ref) { revision digest objects warnings }
  }
`)

export const Compare = graphql(`
  query Compare($from: ID!, $to: ID!) {
    comparison(from: $from, to: $to) {
      unchanged
      steps { kind name action reason waitsFor changes { path from to } }
    }
  }
`)

/** From the local copy of the repository, which may be away: asked for by itself. */
export const CommitOf = graphql(`
  query CommitOf($id: ID!) {
    deployment(id: $id) { commit { author title time } }
  }
`)

export const Environments = graphql(`
  query Environments {
    environments {
      name endpoints tls ssh relay { url credential environment } connected since message engine api nodeCount
      round { seconds listingSeconds at stacks }
      claim { state instance epoch }
      nodes { hostname role leader availability state addr engine platform cpus memory labels { name value } }
    }
  }
`)

export const DeleteEnvironment = graphql(`
  mutation DeleteEnvironment($input: DeleteEnvironmentInput!) {
    payload: deleteEnvironment(input: $input) { userErrors { code message field hint } }
  }
`)

export const Credentials = graphql(`
  query Credentials {
    credentials { name type hosts stacks keys createdAt updatedAt usedBy { kind name environment } }
  }
`)

export const TestCredential = graphql(`
  query TestCredential($name: String!, $url: String!) {
    credentialTest(name: $name, url: $url) { url head branches tags }
  }
`)

export const SetCredential = graphql(`
  mutation SetCredential($input: SetCredentialInput!) {
    payload: setCredential(input: $input) { changes userErrors { code message field hint } }
  }
`)
export const TrustHost = graphql(`
  mutation TrustHost($input: TrustHostInput!) {
    payload: trustHost(input: $input) { changes userErrors { code message field hint } }
  }
`)
export const DeleteCredential = graphql(`
  mutation DeleteCredential($input: DeleteCredentialInput!) {
    payload: deleteCredential(input: $input) { userErrors { code message field hint } }
  }
`)

export const Hooks = graphql(`
  query Hooks {
    hooks {
      name path provider unsigned credential
      rules { when stacks catalogs environment set { field value } }
    }
  }
`)
export const Deliveries = graphql(`
  query Deliveries($hook: String!) {
    hookDeliveries(hook: $hook, first: 20) {
      id deliveryId event at againBy kept outcome message deployments synced
      reconciled { name environment }
      refused { stack { name environment } code message }
    }
  }
`)
export const TryHook = graphql(`
  query TryHook($hook: String!, $event: String, $payload: String!) {
    hookTrial(hook: $hook, event: $event, payload: $payload) {
      event catalogs
      rules { number holds objection }
      stacks { stack { name environment } rule outcome message set { field value } }
    }
  }
`)
export const Redeliver = graphql(`
  mutation Redeliver($input: RedeliverHookInput!) {
    payload: redeliverHook(input: $input) { deliveryId deployments userErrors { code message field hint } }
  }
`)
export const DeleteHook = graphql(`
  mutation DeleteHook($input: DeleteHookInput!) {
    payload: deleteHook(input: $input) { userErrors { code message field hint } }
  }
`)

export const Catalogs = graphql(`
  query Catalogs {
    catalogs {
      name git ref path credential poll prune pruneLimit environments names inSync revision author title appliedAt files
      stacks { name environment file }
      broken { file line message }
      kept keptBecause error
    }
  }
`)
export const SyncCatalog = graphql(`
  mutation SyncCatalog($input: CatalogInput!) {
    payload: syncCatalog(input: $input) { userErrors { code message field hint } }
  }
`)
export const DeleteCatalog = graphql(`
  mutation DeleteCatalog($input: CatalogInput!) {
    payload: deleteCatalog(input: $input) { userErrors { code message field hint } }
  }
`)

export const Notifiers = graphql(`
  query Notifiers {
    notifiers {
      name type place credential environments stacks events updatedAt
      status { pending delivered givenUp lastSuccessAt lastError lastErrorAt attempts nextAttemptAt }
    }
  }
`)
export const TestNotifier = graphql(`
  mutation TestNotifier($input: TestNotifierInput!) {
    payload: testNotifier(input: $input) {
      test { delivered status message }
      userErrors { code message field hint }
    }
  }
`)
export const DeleteNotifier = graphql(`
  mutation DeleteNotifier($input: DeleteNotifierInput!) {
    payload: deleteNotifier(input: $input) { userErrors { code message field hint } }
  }
`)

export const Tokens = graphql(`
  query Tokens {
    tokens { name role environments stacks createdBy createdAt expiresAt lastUsedAt }
  }
`)
export const CreateToken = graphql(`
  mutation CreateToken($input: CreateTokenInput!) {
    payload: createToken(input: $input) { value token { name } userErrors { code message field hint } }
  }
`)
export const RevokeToken = graphql(`
  mutation RevokeToken($input: RevokeTokenInput!) {
    payload: revokeToken(input: $input) { userErrors { code message field hint } }
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
export const Adopt = graphql(`
  mutation Adopt($input: AdoptStackInput!) {
    payload: adoptStack(input: $input) {
      stack { name environment }
      deployment { deploymentId }
      documents { kind name created changes }
      plans {
        stack environment error
        plan {
          digest unchanged waiting warnings
          steps { kind name action reason waitsFor changes { path from to } }
          jobs { name when waitsFor }
        }
      }
      userErrors { code message field line column hint }
    }
  }
`)
export const Release = graphql(`
  mutation Release($input: ReleaseStackInput!) {
    payload: releaseStack(input: $input) { deployment { deploymentId } userErrors { code message field hint } }
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
export type PageChange = ResultOf<typeof FollowPage>['stackPageChanged']
export type StackOrder = 'Worst' | 'Name' | 'Newest'
export type Comparison = ResultOf<typeof Compare>['comparison']
export type HookLine = ResultOf<typeof Hooks>['hooks'][number]
export type Delivery = ResultOf<typeof Deliveries>['hookDeliveries'][number]
export type Trial = ResultOf<typeof TryHook>['hookTrial'][number]
export type CatalogLine = ResultOf<typeof Catalogs>['catalogs'][number]
export type NotifierLine = ResultOf<typeof Notifiers>['notifiers'][number]
export type TokenLine = ResultOf<typeof Tokens>['tokens'][number]
export type CredentialLine = ResultOf<typeof Credentials>['credentials'][number]
export type StackPhase = Row['phase']
export type Image = ResultOf<typeof image>
