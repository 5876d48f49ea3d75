//! What is not seen on an engine of the differential test: objects of Skep's own making, and what cannot be said.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::{
    Digest, INSTANCE_LABEL, LiveConfig, LiveNetwork, LiveSecret, LiveService, PROTECT_LABEL, ServiceSpec, VersionIndex,
    content_name,
};

fn shop() -> StackName {
    StackName::parse("shop").unwrap()
}

fn labels_of(skeps: bool) -> BTreeMap<String, String> {
    let own = (INSTANCE_LABEL.to_owned(), "one".to_owned());
    let stack = (NAMESPACE_LABEL.to_owned(), "shop".to_owned());
    [stack].into_iter().chain(skeps.then_some(own)).collect()
}

fn service(name: &str, spec: serde_json::Value) -> Arc<LiveService> {
    let mut spec: ServiceSpec = serde_json::from_value(spec).unwrap();
    name.clone_into(&mut spec.name);
    spec.labels.extend(labels_of(true));
    Arc::new(LiveService {
        id: name.to_owned(),
        version: VersionIndex(1),
        spec,
        created_at: None,
        updated_at: None,
        update: None,
        job_iteration: None,
    })
}

fn with_services(services: impl IntoIterator<Item = Arc<LiveService>>) -> Snapshot {
    let services = services.into_iter().map(|it| (it.spec.name.clone(), it)).collect();
    Snapshot { services, ..Snapshot::default() }
}

fn config(live: &mut Snapshot, name: &str, skeps: bool, data: &[u8]) {
    let (id, name, labels, data) = (name.to_owned(), name.to_owned(), labels_of(skeps), data.to_vec());
    live.configs.insert(id.clone(), Arc::new(LiveConfig { id, version: VersionIndex(1), name, labels, data }));
}

fn network(live: &mut Snapshot, name: &str, labels: BTreeMap<String, String>, ipam: Option<Value>) {
    let network = LiveNetwork {
        id: name.to_owned(),
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        labels,
        options: BTreeMap::from([("com.docker.network.driver.overlay.vxlanid_list".to_owned(), "4097".to_owned())]),
        internal: false,
        attachable: true,
        ingress: false,
        enable_ipv6: false,
        ipam,
    };
    live.networks.insert(name.to_owned(), Arc::new(network));
}

#[test]
fn objects_that_skep_has_made_go_by_their_keys_again() {
    let digest = content_name(&shop(), "site", &Digest::of(b"a $1\n"));
    let uses = |name: &str| json!({"ConfigName": name, "File": {"Name": "/x", "UID": "0", "GID": "0", "Mode": 256}});
    let secret =
        json!({"SecretName": "shop_key_0123456789ab", "File": {"Name": "key", "UID": "5", "GID": "0", "Mode": 292}});
    let spec = json!({"TaskTemplate": {
        "ContainerSpec": {
            "Image": "nginx:1@sha256:0", "Env": ["PRICE=5$", "BARE"], "Secrets": [secret],
            "Configs": [uses(&digest), uses("shop_template_0123456789ab"), uses("other")],
        },
        "Networks": [{"Target": "shop_default", "Aliases": ["web"]}, {"Target": "edge", "Aliases": ["web", "shop"]}],
    }});
    let mut live = with_services([service("shop_web", spec)]);
    config(&mut live, &digest, true, b"a $1\n");
    config(&mut live, "shop_template_0123456789ab", true, b"{{ .Node }}");
    network(&mut live, "edge", BTreeMap::new(), None);
    let pools = json!({"Driver": "default", "Config": [{"Subnet": "10.0.7.0/24"}, {"Subnet": "172.30.0.0/24", "Gateway": "172.30.0.1"}]});
    let protected = (PROTECT_LABEL.to_owned(), "true".to_owned());
    network(&mut live, "shop_default", labels_of(true).into_iter().chain([protected]).collect(), Some(pools));
    let (name, labels) = ("shop_key_0123456789ab".to_owned(), labels_of(true));
    live.secrets.insert(
        name.clone(),
        Arc::new(LiveSecret { id: name.clone(), version: VersionIndex(1), name, labels, driver: None }),
    );
    let Exported { text, remarks } = export(&shop(), &live);
    insta::assert_snapshot!(text, @r#"
    services:
      web:
        image: nginx:1@sha256:0
        environment:
          PRICE: 5$$
          BARE: null
        secrets:
        - source: key_0123456789ab
          target: key
          uid: "5"
        configs:
        - source: site
          target: /x
          mode: "0400"
        - source: template_0123456789ab
          target: /x
          mode: "0400"
        - source: other
          target: /x
          mode: "0400"
        networks:
          default: null
          edge:
            aliases:
            - shop
        deploy: {}
    networks:
      edge:
        external: true
      default:
        attachable: true
        ipam:
          config:
          - subnet: 172.30.0.0/24
            gateway: "172.30.0.1"
        x-skep:
          protect: true
    configs:
      other:
        external: true
      site:
        content: |
          a $$1
      template_0123456789ab:
        name: shop_template_0123456789ab
        external: true
    secrets:
      key_0123456789ab:
        name: shop_key_0123456789ab
        external: true
    "#);
    insta::assert_snapshot!(remarks.join("\n"), @"
    secret `shop_key_0123456789ab` is named as `external`, because its content cannot be read back: give it a source of its own (a credential, a file encrypted with SOPS) to have it kept and rotated
    config `shop_template_0123456789ab` is named as `external`: it is no text, or its name does not follow from its content
    ");
}

#[test]
fn what_no_file_can_say_is_remarked_upon() {
    let container = json!({
        "Image": "nginx:1", "Env": ["A=1", "A=2"], "Hosts": ["10.0.0.1 a b", "10.0.0.1 c"],
        "Healthcheck": {"Test": ["curl", "-f"]}, "DNSConfig": {"Nameservers": ["one.one", "1.1.1.1"], "Search": [""]},
        "Privileges": {
            "SELinuxContext": {"Disable": true, "Level": "s0"}, "NoNewPrivileges": true,
            "Seccomp": {"Mode": "custom", "Profile": "e30="}, "AppArmor": {"Mode": "disabled"},
            "CredentialSpec": {"Registry": "key"},
        },
    });
    let named = json!({"NamedResourceSpec": {"Kind": "GPU", "Value": "0"}});
    let spec = json!({
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": {"Limits": {"NanoCPUs": 1_250_000_000, "MemoryBytes": 1_073_741_825}, "Reservations": {"GenericResources": [named]}},
            "Networks": [{"Target": "host"}],
        },
        "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 3}},
    });
    let strange = service("elsewhere", json!({}));
    let mut run = (*service("shop_migrate", json!({}))).clone();
    run.spec.labels.insert(crate::domain::HOOK_LABEL.to_owned(), "pre".to_owned());
    let live = with_services([service("shop_job", spec), service("shop_alone", json!({})), strange, Arc::new(run)]);
    assert_eq!(stacks(&live), BTreeSet::from(["shop".to_owned()]));
    let Exported { text, remarks } = export(&shop(), &live);
    insta::assert_snapshot!(text, @r#"
    services:
      alone:
        image: ""
        deploy: {}
      job:
        image: nginx:1
        environment:
          A: "2"
        extra_hosts:
        - c=10.0.0.1
        dns:
        - "1.1.1.1"
        security_opt:
        - label:disable
        - label:level:s0
        - no-new-privileges:true
        - apparmor=unconfined
        credential_spec:
          registry: key
        network_mode: host
        deploy:
          mode: replicated-job
          replicas: 1
          resources:
            limits:
              cpus: "1.25"
              memory: 1073741825b
    "#);
    insta::assert_snapshot!(remarks.join("\n"), @"
    service `elsewhere` is left out: its name does not begin with `shop_`
    service `shop_alone` is on no network; a file puts it on the stack's default one
    service `job`: the variable `A` is set twice; the later one counts
    service `job`: the health check is left out: no engine runs one that begins with `curl`
    service `job`: the host `10.0.0.1 a b` cannot be said as one name and one address
    service `job`: the name server `one.one` is left out: it is no address
    service `job`: Seccomp `custom` cannot be said
    service `job`: how many of the job's tasks run at a time is not said apart
    service `job`: a generic resource by name cannot be said
    service `shop_migrate` is left out: it is a run of a job before or after a deployment
    ");
}
