-- Data of the demo profile. In a schema of its own: the services' tables are theirs to make. Running it again changes nothing.
CREATE SCHEMA IF NOT EXISTS demo;
CREATE TABLE IF NOT EXISTS demo.tenants (id int PRIMARY KEY, name text NOT NULL, plan text NOT NULL);
CREATE TABLE IF NOT EXISTS demo.users (
  id int PRIMARY KEY, tenant int NOT NULL REFERENCES demo.tenants, name text NOT NULL, role text NOT NULL, language text NOT NULL);
CREATE TABLE IF NOT EXISTS demo.conversations (
  id int PRIMARY KEY, owner int NOT NULL REFERENCES demo.users, title text NOT NULL, started timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS demo.messages (
  id int PRIMARY KEY, conversation int NOT NULL REFERENCES demo.conversations, author text NOT NULL, body text NOT NULL,
  sent timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS demo.documents (
  id int PRIMARY KEY, tenant int NOT NULL REFERENCES demo.tenants, title text NOT NULL, object text NOT NULL, bytes int NOT NULL);
INSERT INTO demo.tenants VALUES (1, 'Harbour Logistics', 'business'), (2, 'Quiet Books', 'starter'), (3, '晨光医疗', 'enterprise')
  ON CONFLICT DO NOTHING;
INSERT INTO demo.users
  SELECT n, 1 + n % 3, (ARRAY['Ada', 'Bruno', 'Chen', 'Dalia', 'Emil', 'Fatma', 'Goran', '海伦', 'Ines', 'Jonas'])[1 + n % 10] || ' ' || n,
    (ARRAY['admin', 'agent', 'member'])[1 + n % 3], (ARRAY['en', 'de', 'zh', 'pt'])[1 + n % 4]
  FROM generate_series(1, 60) AS n ON CONFLICT DO NOTHING;
INSERT INTO demo.conversations
  SELECT n, 1 + n % 60, (ARRAY['Where is my parcel', 'Refund of an order', 'Opening hours', 'Change of address', '预约时间'])[1 + n % 5],
    timestamptz '2025-01-06 08:00Z' + n * interval '37 minutes'
  FROM generate_series(1, 200) AS n ON CONFLICT DO NOTHING;
INSERT INTO demo.messages
  SELECT n, 1 + (n - 1) / 6, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
    CASE n % 2 WHEN 1 THEN 'Question ' || n || ' about conversation ' || 1 + (n - 1) / 6 ELSE 'Answer to question ' || n - 1 END,
    timestamptz '2025-01-06 08:00Z' + (1 + (n - 1) / 6) * interval '37 minutes' + n % 6 * interval '20 seconds'
  FROM generate_series(1, 1200) AS n ON CONFLICT DO NOTHING;
INSERT INTO demo.documents VALUES
  (1, 1, 'Delivery times', 'documents/delivery-times.md', 209), (2, 2, 'Returns', 'documents/returns.md', 185),
  (3, 3, '预约须知', 'documents/appointments.md', 156)
  ON CONFLICT DO NOTHING;
