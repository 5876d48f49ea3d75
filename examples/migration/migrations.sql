-- Brings the schema to version `to`, from whichever it has; run again, it changes nothing. All of it is one transaction.
create table if not exists schema_version (version int primary key, since timestamptz not null default now());
insert into schema_version (version) values (:'to'::int) on conflict do nothing;
select :'to'::int >= 2 as to_2 \gset

create table if not exists product (id serial primary key, name text not null);
alter table product add column if not exists price numeric(10, 2);
\if :to_2
alter table product add column if not exists stock int not null default 0;
\endif
