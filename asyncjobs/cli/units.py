"""Files that have the system run a daemon."""

UNITS = {
    "systemd": """
[Unit]
Description=asyncjobs daemon
After=network.target

[Service]
Type=notify
WorkingDirectory={folder}
ExecStart={python} -m asyncjobs --db {store}{app} daemon start
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStopSec={timeout}
WatchdogSec=30
Restart=on-failure
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
""",
    "docker": """
# The store must be on a local volume: SQLite's locks do not work over a network.
services:
  jobs:
    build: .
    command: python -m asyncjobs --db /data/jobs.db{app} daemon start
    volumes: ["jobs:/data"]
    init: true
    stop_grace_period: {timeout}s
    healthcheck:
      test: ["CMD", "python", "-m", "asyncjobs", "--db", "/data/jobs.db", "daemon", "status", "--check"]
volumes:
  jobs:
""",
    "k8s": """
# One pod: the store is a file on a volume that only one node mounts.
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: jobs}}
spec:
  serviceName: jobs
  replicas: 1
  selector: {{matchLabels: {{app: jobs}}}}
  template:
    metadata: {{labels: {{app: jobs}}}}
    spec:
      terminationGracePeriodSeconds: {timeout}
      containers:
        - name: daemon
          image: IMAGE
          command: [python, -m, asyncjobs, --db, /data/jobs.db{app}, daemon, start]
          volumeMounts: [{{name: data, mountPath: /data}}]
          livenessProbe:
            exec: {{command: [python, -m, asyncjobs, --db, /data/jobs.db, daemon, status, --check]}}
            periodSeconds: 15
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
""",
}
"""By kind; fields: python, folder, store, app, timeout (seconds)."""
